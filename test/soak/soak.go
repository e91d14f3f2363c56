// Package soak has the real binary record sessions that start and end, and persistent rooms in
// which participants come and go. It compares live heap, goroutines, open files and disk use at the
// end with those at the start, and requires that everything sent is delivered. It judges nothing by
// time, so a busy machine does not disturb it.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// Options of [Run].
type Options struct {
	Dir      string // for the servers' and the recorder's data
	Duration time.Duration
	Rate     float64 // sessions started per minute
	Rooms    int     // persistent rooms, open for the whole run
	Out      io.Writer
}

// retention is short, so that the run sees what a recording leaves behind. The recorder removes
// expired data every half minute.
const retention = 5 * time.Second

// maxActive bounds the sessions that run at once, besides the persistent ones. On a machine too
// slow for Rate, this is the limit.
const maxActive = 24

// soak is a run.
type soak struct {
	o       Options
	servers *stack.Stack
	r       *stack.Recorder
	log     *journal
	began   time.Time

	persistent []*persistentRoom
	seed       atomic.Uint64

	ended    atomic.Int64 // sessions ended and checked
	active   atomic.Int64 // sessions running now, besides the persistent ones
	messages atomic.Int64 // sent, and found in the delivered recordings
	files    atomic.Int64 // files and text streams, likewise
	came     atomic.Int64 // participants
	// participants whose connection broke, so that what they sent is not known
	unknown     atomic.Int64
	mu          sync.Mutex
	failures    []error
	failed      chan struct{} // closed at the first failure
	failureOnce sync.Once
}

// Run runs the soak and prints the recorder's state every minute, at the start and at the end. It
// returns an error if growth exceeds the tolerance or something that was sent is not delivered.
func Run(ctx context.Context, o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	st, err := stack.Start(ctx, stack.Options{
		Dir: filepath.Join(dir, "servers"), SyncFlow: stack.Crowd,
		LiveKit: stack.LiveKitOptions{
			LogLevel: "error", EmptyTimeout: 6 * time.Hour,
			DepartureTimeout: 6 * time.Hour,
		},
	})
	if err != nil {
		return err
	}
	defer st.Stop(context.Background()) //nolint:errcheck // its processes end with this one anyway
	s := &soak{o: o, servers: st, began: time.Now(), failed: make(chan struct{})}
	if err := st.SyncFlow.Control(ctx, stack.Settings{NoListener: true}); err != nil {
		return err
	}
	s.r, err = st.StartRecorder(ctx, filepath.Join(dir, "recorder"), "LOG_FORMAT=json",
		"RETENTION="+retention.String(), "SEGMENT_AGE=1m")
	if err != nil {
		return err
	}
	defer s.r.Kill() //nolint:errcheck // an error has been reported before
	if s.log, err = newJournal(s.r); err != nil {
		return err
	}
	defer s.log.close()
	return s.run(ctx)
}

func (s *soak) run(ctx context.Context) error {
	for range s.o.Rooms {
		x, err := s.open(ctx)
		if err != nil {
			return err
		}
		s.persistent = append(s.persistent, &persistentRoom{session: x})
	}
	fmt.Fprintf(s.o.Out, "%d persistent rooms; %g sessions start every minute\n\n%s\n", s.o.Rooms,
		s.o.Rate, header)
	warm := max(s.o.Duration/6, 20*time.Second)
	if err := s.churn(ctx, warm); err != nil {
		return err
	}
	begin, err := s.rest(ctx, "start")
	if err != nil {
		return err
	}
	if err := s.churn(ctx, s.o.Duration-warm); err != nil {
		return err
	}
	end, err := s.rest(ctx, "end")
	if err != nil {
		return err
	}
	if err := s.closeRooms(ctx); err != nil {
		return err
	}
	if err := s.r.Stop(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.o.Out, "\n%d sessions started and ended; %d messages and %d streams and "+
		"files were sent and delivered.\n",
		s.ended.Load(), s.messages.Load(), s.files.Load())
	if n := s.unknown.Load(); n > 0 {
		fmt.Fprintf(s.o.Out, "%d of %d participants could not join or lost their connection; "+
			"what they sent is unknown and not counted.\n",
			n, s.came.Load())
	}
	err = verdict(s.o.Out, begin, end)
	if s.unknown.Load() > s.came.Load()/5 {
		err = errors.Join(err, errors.New("more than a fifth of the participants could not join "+
			"or lost their connection: use a lower -rate"))
	}
	return err
}

// churn starts sessions at the given rate and has participants visit the persistent rooms for the
// duration d, then waits for all of them. It prints the recorder's state every minute.
func (s *soak) churn(ctx context.Context, d time.Duration) error {
	within, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for _, x := range s.persistent {
		wg.Go(func() {
			for within.Err() == nil && !s.hasFailed() {
				s.note(x.visit(ctx, s)) // to its end, so that what it sent is known
				_ = backoff.Sleep(within, 5*time.Second)
			}
		})
	}
	slots := make(chan struct{}, maxActive)
	next := time.NewTicker(time.Duration(float64(time.Minute) / s.o.Rate))
	defer next.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for over := false; !over; {
		select {
		case <-within.Done():
			over = true
		case <-s.failed:
			over = true
		case <-minute.C:
			if _, err := s.look(ctx, ""); err != nil {
				s.note(err)
			}
		case <-next.C:
			select {
			case slots <- struct{}{}:
				wg.Go(func() { s.note(s.session(ctx)); <-slots })
			default:
			}
		}
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(s.failures, ctx.Err())...)
}

func (s *soak) note(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
	s.failureOnce.Do(func() { close(s.failed) })
}

func (s *soak) hasFailed() bool {
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

// rest waits until the data of all ended sessions is removed, and reads the state: the recorder is
// in the persistent rooms, which are empty.
func (s *soak) rest(ctx context.Context, what string) (state, error) {
	within, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		n, err := s.unremoved()
		if err != nil {
			return state{}, err
		}
		if n == 0 {
			break
		}
		if backoff.Sleep(within, time.Second) != nil {
			return state{}, fmt.Errorf("the data of %d delivered recordings was not removed, "+
				"with a retention of %v\n%s", n, retention, s.r.LogTail(3000))
		}
	}
	// A connection to the bucket is kept for a minute and a half, with its goroutines.
	if err := backoff.Sleep(ctx, min(100*time.Second, s.o.Duration/4)); err != nil {
		return state{}, err
	}
	return s.look(ctx, what)
}

// unremoved counts the recordings of ended sessions that still have segments.
func (s *soak) unremoved() (int, error) {
	root := filepath.Join(s.r.DataDir(), "recordings")
	list, err := os.ReadDir(root)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range list {
		segments, err := filepath.Glob(filepath.Join(root, d.Name(), "*.seg"))
		if err != nil {
			return 0, err
		}
		if len(segments) > 0 {
			n++
		}
	}
	return n - len(s.persistent), nil
}
