// Package soak has the real binary record sessions that begin and end, with participants who come
// and go, beside rooms that stay for the whole time, and looks whether it ends where it began: in
// live heap, goroutines, open files and disk. Everything that was sent must be delivered. It judges
// nothing by time, so other work on the machine does not disturb it.
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

	"github.com/syncflow/textegress/test/stack"
)

// Options of [Run].
type Options struct {
	Dir      string // for the servers' and the recorder's data
	Duration time.Duration
	Rate     float64 // sessions that begin in a minute
	Rooms    int     // that stay for the whole time
	Out      io.Writer
}

// retention is short, so that what a recording leaves behind is seen within the run. The recorder
// looks every half minute.
const retention = 5 * time.Second

// most sessions that come and go at once; on a machine that is slower than Rate it is this that
// holds it back.
const most = 24

// soak is a run.
type soak struct {
	o       Options
	servers *stack.Stack
	r       *stack.Recorder
	log     *journal
	began   time.Time

	stay []*standing
	seed atomic.Uint64

	ended    atomic.Int64 // sessions that are over and accounted for
	active   atomic.Int64 // sessions that come and go, now
	messages atomic.Int64 // sent, and found in what was delivered
	files    atomic.Int64 // likewise, streams of texts too
	came     atomic.Int64 // participants
	// of these, whose connection broke, so that what they sent is not known
	unknown     atomic.Int64
	mu          sync.Mutex
	failures    []error
	failed      chan struct{} // closed at the first failure
	failureOnce sync.Once
}

// Run runs the soak and prints its curve, its states and its verdict. An error is a state outside
// of the tolerance, or something that was sent and is not delivered.
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
		s.stay = append(s.stay, &standing{session: x})
	}
	fmt.Fprintf(s.o.Out, "%d rooms stay; %g sessions begin every minute\n\n%s\n", s.o.Rooms,
		s.o.Rate, header)
	warm := max(s.o.Duration/6, 20*time.Second)
	if err := s.churn(ctx, warm); err != nil {
		return err
	}
	begin, err := s.rest(ctx, "begins")
	if err != nil {
		return err
	}
	if err := s.churn(ctx, s.o.Duration-warm); err != nil {
		return err
	}
	end, err := s.rest(ctx, "ends")
	if err != nil {
		return err
	}
	if err := s.closeRooms(ctx); err != nil {
		return err
	}
	if err := s.r.Stop(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.o.Out, "\n%d sessions have begun and ended, %d messages and %d streams and "+
		"files were sent and are delivered.\n",
		s.ended.Load(), s.messages.Load(), s.files.Load())
	if n := s.unknown.Load(); n > 0 {
		fmt.Fprintf(s.o.Out, "%d of %d participants could not join or lost their connection: "+
			"what these sent is not known, and does not count.\n",
			n, s.came.Load())
	}
	err = verdict(s.o.Out, begin, end)
	if s.unknown.Load() > s.came.Load()/5 {
		err = errors.Join(err, errors.New("of too many participants it is not known what they "+
			"sent; try a lower -rate"))
	}
	return err
}

// churn begins sessions at the rate, and has participants come and go in the rooms that stay, until
// the time is over and all of them are done. Each minute it prints where the recorder is.
func (s *soak) churn(ctx context.Context, d time.Duration) error {
	within, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for _, x := range s.stay {
		wg.Go(func() {
			for within.Err() == nil && !s.hasFailed() {
				s.note(x.visit(ctx, s))         // to its end: what it sends is to be known
				_ = wait(within, 5*time.Second) // over is over
			}
		})
	}
	slots := make(chan struct{}, most)
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

// rest waits until nothing of the sessions that came and went is left but what is kept on purpose,
// and reads the state: the rooms that stay are joined, and nobody is in them.
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
		if wait(within, time.Second) != nil {
			return state{}, fmt.Errorf("the data of %d delivered recordings was not removed, "+
				"with a retention of %v\n%s", n, retention, s.r.LogTail(3000))
		}
	}
	// A connection to the bucket is kept for a minute and a half, with its goroutines.
	if err := wait(ctx, min(100*time.Second, s.o.Duration/4)); err != nil {
		return state{}, err
	}
	return s.look(ctx, what)
}

// unremoved counts the recordings of sessions that are over of which there still are segments.
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
	return n - len(s.stay), nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
