package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress/test/stack"
)

// Harness holds the parts that all scenarios of a run share: the servers, the watcher of their
// buckets, and the account.
type Harness struct {
	Stack *stack.Stack
	// Seed determines all random choices. The same seed gives the same faults in the same order;
	// their exact times depend on the machine.
	Seed uint64
	// Dir holds the recorders' directories.
	Dir string
	// Long gives scenarios the length of `make torture`, instead of a test's.
	Long bool
	// Log receives one line for each step; nil discards them.
	Log func(format string, args ...any)

	bucket  *bucketWatcher
	closed  sync.Once
	limited bool // SyncFlow has the limits of the real one; heal lifts them

	mu      sync.Mutex
	kills   int
	faults  map[string]int // by name, kills of the recorder not included
	states  map[string]int // states that kills left on disk, by name
	total   Verdict
	session int
}

// NewHarness starts servers below dir. projects bounds how many scenarios may run at the same time.
func NewHarness(ctx context.Context, dir string, seed uint64, projects int) (*Harness, error) {
	dir, err := filepath.Abs(dir) // the command line runs in the recorders' directories
	if err != nil {
		return nil, err
	}
	servers, err := stack.Start(ctx, stack.Options{
		Dir: filepath.Join(dir, "servers"), Projects: projects, TLS: true, Proxies: true,
		SyncFlow: stack.Crowd,
	})
	if err != nil {
		return nil, err
	}
	r := &Harness{
		Stack: servers, Seed: seed, Dir: dir, faults: map[string]int{},
		states: map[string]int{},
	}
	r.bucket = watchBuckets(servers.S3.DataDir)
	return r, nil
}

// Close stops the servers.
func (r *Harness) Close(ctx context.Context) error {
	var err error
	r.closed.Do(func() {
		r.bucket.close()
		err = r.Stack.Stop(ctx)
	})
	return err
}

func (r *Harness) logf(format string, args ...any) {
	if r.Log != nil {
		r.Log(format, args...)
	}
}

// fault counts a fault injected into a server or a connection.
func (r *Harness) fault(name string) {
	r.mu.Lock()
	r.faults[name]++
	r.mu.Unlock()
	r.logf("  %s", name)
}

func (r *Harness) killed(states []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kills++
	for _, s := range states {
		r.states[s]++
	}
}

// Kills returns the number of kills of recorders so far.
func (r *Harness) Kills() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kills
}

func (r *Harness) account(v Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.Wrong = nil
	r.total.add(v)
}

// Summary returns the account in one line.
func (r *Harness) Summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	faults := 0
	for _, n := range r.faults {
		faults += n
	}
	return fmt.Sprintf("%d crash points, %d kills, %d faults injected; %d messages sent, %d "+
		"recorded, %d stated as possibly missed, %d not known to have been sent, %d "+
		"unaccounted for",
		len(r.states), r.kills, faults, r.total.Sent, r.total.Recorded, r.total.Stated,
		r.total.Unsent, r.total.Unaccounted)
}

// Details returns the account by fault and by the state that kills left on disk.
func (r *Harness) Details() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	table := func(title string, m map[string]int) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %5d  %s\n", m[k], k)
		}
	}
	table("states of recordings that kills left on disk:", r.states)
	table("faults injected:", r.faults)
	return b.String()
}

// Play runs one scenario on the project with the given index, and returns all problems. Its random
// choices depend on the harness's seed, the scenario's name and the round.
func (r *Harness) Play(ctx context.Context, s Scenario, round, project int) error {
	if s.Skip != nil {
		if why := s.Skip(); why != "" {
			r.logf("%s: left out: %s", s.Name, why)
			return nil
		}
	}
	started := time.Now()
	w, err := r.newWorld(s, round, project)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	r.logf("%s, round %d", s.Name, round+1)
	v, err := w.play(ctx, s)
	r.account(v)
	if err != nil {
		return fmt.Errorf("%s, round %d: %w", s.Name, round+1, err)
	}
	r.logf("  %s: %s, in %.1f s", s.Name, v, time.Since(started).Seconds())
	return nil
}

// Options of [Run].
type Options struct {
	Dir      string // directory for all files
	Seed     uint64
	Kills    int           // at least
	Duration time.Duration // at least
	Only     string        // names of scenarios, separated by commas; "": all
	Out      io.Writer
}

// Run plays all scenarios repeatedly until both the number of kills and the duration are reached.
// It stops after the first round with a problem and returns it as an error.
func Run(ctx context.Context, o Options) (summary string, err error) {
	start := time.Now()
	scenarios := Scenarios()
	if o.Only != "" {
		want := strings.Split(o.Only, ",")
		scenarios = slices.DeleteFunc(scenarios,
			func(s Scenario) bool { return !slices.Contains(want, s.Name) })
		if len(scenarios) != len(want) {
			return "", fmt.Errorf("unknown scenario in %q; there are %s", o.Only,
				strings.Join(names(Scenarios()), ", "))
		}
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return "", err
	}
	harness, err := NewHarness(ctx, o.Dir, o.Seed, 2)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, harness.Close(context.WithoutCancel(ctx))) }()
	harness.Long = true
	harness.Log = func(format string, args ...any) {
		fmt.Fprintf(o.Out, "%7.1f s  %s\n", time.Since(start).Seconds(),
			fmt.Sprintf(format, args...))
	}
	var errs []error
	for round := 0; len(errs) == 0 && ctx.Err() == nil &&
		(round == 0 || harness.Kills() < o.Kills ||
			time.Since(start) < o.Duration); round++ {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(round)))
		rng.Shuffle(len(scenarios), func(i, j int) {
			scenarios[i], scenarios[j] = scenarios[j],
				scenarios[i]
		})
		for i, s := range scenarios {
			if err := harness.Play(ctx, s, round, i%2); err != nil {
				harness.logf("WRONG: %v", err)
				errs = append(errs, err)
			}
		}
	}
	fmt.Fprint(o.Out, harness.Details())
	return harness.Summary(), errors.Join(append(errs, ctx.Err())...)
}

func names(s []Scenario) []string {
	var out []string
	for _, x := range s {
		out = append(out, x.Name)
	}
	return out
}
