package torture

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// World is the environment of one scenario: a project, its own recorders, and its sessions.
type World struct {
	harness   *Harness
	name      string
	dir       string
	project   stack.Project
	rng       *rand.Rand
	recorders []*recorder
	senders   int     // of each session
	rate      float64 // messages a second of each sender

	mu       sync.Mutex
	sessions []*session
	problems []error
}

// Scenario is a sequence of faults with its checks.
type Scenario struct {
	Name string
	// Alone is set if the scenario disturbs what all recorders share, so no other scenario may run
	// at the same time.
	Alone bool
	// LongOnly is set if the scenario has no short version, because it combines others.
	LongOnly bool
	// Pair runs two recorders with different INSTANCE, which both record everything.
	Pair bool
	// Env holds further settings of the recorders.
	Env []string
	// LiveKitKeys gives the recorders LiveKit's keys.
	LiveKitKeys bool
	// Skip returns why the scenario cannot run on this machine, or "".
	Skip func() string
	// Prepare is called before the recorders start, with the directory of the first one. undo is
	// called at the end.
	Prepare func(w *World, dir string) (undo func() error, err error)
	// Run runs the scenario's faults. The harness then repairs everything and makes the account.
	Run func(ctx context.Context, w *World) error
	// Check checks the scenario's own expectations of the account, beyond its consistency.
	Check func(w *World, v Verdict, outages []int) error
}

// A scenario that takes longer than this, repairs included, hangs.
const (
	timeLimit     = 6 * time.Minute
	testTimeLimit = 90 * time.Second
)

func (r *Harness) newWorld(s Scenario, round, project int) (*World, error) {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s.Name) // never fails
	w := &World{
		harness: r, name: s.Name, dir: filepath.Join(r.Dir, fmt.Sprintf("%s-%d", s.Name, round+1)),
		project: r.Stack.SyncFlow.Projects[project],
		rng:     rand.New(rand.NewPCG(r.Seed, h.Sum64()+uint64(round))), senders: 2, rate: 12,
	}
	return w, os.MkdirAll(w.dir, 0o755)
}

func (w *World) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Errorf(format, args...))
}

func (w *World) play(ctx context.Context, s Scenario) (v Verdict, err error) {
	ctx, cancel := context.WithTimeout(ctx, pick(w, testTimeLimit, timeLimit))
	defer cancel()
	if s.Prepare != nil {
		undo, err := s.Prepare(w, filepath.Join(w.dir, "a"))
		if err != nil {
			return v, err
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	instances := []string{"a", "b"}[:1]
	if s.Pair {
		instances = []string{"a", "b"}
	}
	env := s.Env
	if s.LiveKitKeys {
		lk := w.harness.Stack.LiveKit
		env = append(env, "PROJECTS__0__LIVEKIT__API_KEY="+lk.APIKey,
			"PROJECTS__0__LIVEKIT__API_SECRET="+lk.APISecret)
	}
	for _, i := range instances {
		x, err := w.newRecorder(ctx, i, env)
		if err != nil {
			return v, err
		}
		w.recorders = append(w.recorders, x)
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	for _, x := range w.recorders {
		if err := errors.Join(x.start(), x.WaitReady(ctx)); err != nil {
			return v, err
		}
	}
	runErr := s.Run(ctx, w)
	if ctx.Err() != nil { // the next scenarios need the servers
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
	}
	if s.Alone {
		runErr = errors.Join(runErr, w.harness.heal(ctx))
	}
	if err := errors.Join(runErr, w.heal(ctx)); err != nil {
		return v, err
	}
	v, outages, err := w.reckon(ctx)
	if err == nil && s.Check != nil {
		err = s.Check(w, v, outages)
	}
	return v, err
}

// heal repairs the servers after a scenario.
func (r *Harness) heal(ctx context.Context) error {
	s := r.Stack
	var errs []error
	for _, p := range s.Proxies.All() {
		errs = append(errs, p.Clear())
	}
	redeclare := !s.RabbitMQ.Running()
	for _, p := range []*stack.Process{
		s.LiveKit.Process, s.RabbitMQ.Process, s.S3.Process,
		s.SyncFlow.Process,
	} {
		if !p.Running() {
			errs = append(errs, p.Start(ctx))
		}
	}
	if r.limited {
		r.limited = false
		errs = append(errs, s.SyncFlow.Limit(ctx, stack.Crowd))
	}
	errs = append(errs, s.SyncFlow.ResetControl(ctx))
	if redeclare {
		errs = append(errs, s.SyncFlow.Redeclare(ctx))
	}
	return errors.Join(errs...)
}

// heal resumes or starts the recorders and ends all sessions.
func (w *World) heal(ctx context.Context) error {
	var errs []error
	for _, v := range w.recorders {
		if v.Paused() {
			errs = append(errs, v.Resume())
		}
		errs = append(errs, v.start())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var wg sync.WaitGroup
	ends := make([]error, len(w.sessions))
	for i, x := range w.sessions {
		if !x.ended {
			wg.Go(func() { ends[i] = x.end(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(ends...)
}

// reckon waits until everything is delivered and makes the account. outages holds the number of
// outages that each recording of each session states.
func (w *World) reckon(ctx context.Context) (v Verdict, outages []int, err error) {
	var errs []error
	for _, s := range w.sessions {
		by, err := s.records(ctx)
		if err != nil {
			return v, nil, err
		}
		var lines [][]textegress.Message
		for i, x := range w.recorders {
			one, l, err := s.judge(ctx, x, by[x.instance])
			errs = append(errs, err)
			lines = append(lines, l)
			outages = append(outages, len(outagesOf(l)))
			if i == 0 && len(w.recorders) == 1 {
				v.add(one)
			}
		}
		if len(w.recorders) == 2 {
			one, err := s.union(lines[0], lines[1])
			v.add(one)
			errs = append(errs, err, s.merged(ctx, w.recorders[0], by[w.recorders[0].instance],
				by[w.recorders[1].instance]))
		}
		for _, x := range s.senders {
			if n := x.interruptions(); n > 0 {
				w.harness.logf("  a sender of %q lost its connection %d times", s.Name, n)
			}
		}
	}
	for _, x := range w.recorders {
		errs = append(errs, x.leaks())
	}
	expected, err := w.expected()
	errs = append(errs, err, w.harness.bucket.check(w.project.Bucket, expected))
	w.mu.Lock()
	defer w.mu.Unlock()
	return v, outages, errors.Join(append(errs, w.problems...)...)
}

// expected returns the keys of all recordings in the project's bucket, including those of earlier
// scenarios.
func (w *World) expected() (map[string]bool, error) {
	keys := map[string]bool{}
	root := w.harness.Stack.S3.BucketDir(w.project.Bucket)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != textegress.ManifestName {
			return err
		}
		rec, err := textegress.Open(os.DirFS(filepath.Dir(path)))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		keys[rel] = true
		for _, o := range rec.Manifest().Objects {
			keys[filepath.Join(filepath.Dir(rel), o.Key)] = true
		}
		return nil
	})
	return keys, err
}

// union returns the account of a session that two recorders recorded.
func (s *session) union(a, b []textegress.Message) (Verdict, error) {
	var sent []Sent
	for _, x := range s.senders {
		sent = append(sent, x.sent())
	}
	v := Union(sent, a, b, false)
	var errs []error
	for _, m := range v.Wrong {
		errs = append(errs, errors.New(m))
	}
	return v, errors.Join(errs...)
}

// reads runs a command that reads from the store. Another scenario may kill the store meanwhile, so
// reads retries after exit code 1 (the command could not do its work). Problems found by the
// command have another code.
func (v *recorder) reads(ctx context.Context, args func(try int) []string) (stdout, stderr string,
	code int, err error,
) {
	for try := range 20 {
		stdout, stderr, code, err = v.CLI(ctx, args(try)...)
		if err != nil || code != 1 || backoff.Sleep(ctx, time.Second) != nil {
			break
		}
	}
	return stdout, stderr, code, err
}

// merged merges two recordings with the command line. The result must contain everything in either
// of them, once and in order.
func (s *session) merged(ctx context.Context, v *recorder, a, b []stack.Delivered) error {
	if len(a) != 1 || len(b) != 1 {
		return fmt.Errorf("session %q: %d and %d recordings to merge, want one of each", s.Name,
			len(a), len(b))
	}
	var dir string
	merge := func(try int) []string {
		dir = filepath.Join(s.w.dir, fmt.Sprintf("merged-%s-%d", s.ID, try))
		return []string{"merge", a[0].S3URL(), b[0].S3URL(), dir}
	}
	verify := func(int) []string { return []string{"verify", dir} }
	for _, args := range []func(int) []string{merge, verify} {
		stdout, stderr, code, err := v.reads(ctx, args)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("merging and verifying: exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	rec, err := textegress.Open(os.DirFS(dir))
	if err != nil {
		return err
	}
	var lines []textegress.Message
	for m, err := range rec.Messages() {
		if err != nil {
			return fmt.Errorf("merged recording: %w", err)
		}
		lines = append(lines, m)
	}
	var sent []Sent
	for _, x := range s.senders {
		sent = append(sent, x.sent())
	}
	c := rec.Manifest().Completeness
	verdict := Judge(sent, lines, c.Tail == textegress.TailUnproved)
	errs := []error{}
	for _, m := range append(verdict.Wrong, Claims(sent, []Part{{c, lines}})...) {
		errs = append(errs, errors.New("merged: "+m))
	}
	if verdict.Recorded != verdict.Sent || len(c.Outages) > 0 || c.PossibleDuplicates > 0 {
		errs = append(errs, fmt.Errorf("merged: %s, %d outages, %d possible duplicates; want all "+
			"messages once", verdict, len(c.Outages), c.PossibleDuplicates))
	}
	return errors.Join(errs...)
}

// close stops the recorders with SIGTERM, which must succeed.
func (w *World) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, s := range w.sessions {
		if s.cancel != nil {
			s.cancel()
		}
	}
	var errs []error
	for _, v := range w.recorders {
		if v.Running() {
			errs = append(errs, v.stop(ctx))
		}
		v.ends.Wait()
		errs = append(errs, v.leaks())
	}
	return errors.Join(errs...)
}
