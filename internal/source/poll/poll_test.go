package poll_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/poll"
)

// world is a server, the source that polls it, and the source's handler. The test holds mu except
// while time passes.
type world struct {
	*poll.Source

	t *testing.T

	mu       sync.Mutex
	sessions []session.Session
	optedOut []string
	err      error         // of the list
	takes    time.Duration // duration of a list
	lists    []time.Time
	seen     time.Time       // the last webhook
	known    map[string]bool // runs that webhooks have announced
	refuses  error           // returned by the handler
	slow     time.Duration   // duration of a call of the handler
	atOnce   int
	most     int // calls of the handler at one time
	calls    []string
	last     session.Announcement
	resyncs  int
	log      strings.Builder
}

const (
	interval = time.Second
	beside   = 15 * time.Second
)

func start(t *testing.T, sessions ...session.Session) *world {
	w := &world{t: t, sessions: sessions, known: map[string]bool{}}
	w.run()
	return w
}

// logWriter appends to the log of a world.
type logWriter struct{ w *world }

func (l logWriter) Write(b []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(b)
}

func (w *world) run() {
	w.Source = poll.New(poll.Options{
		List: w.list, Interval: interval, IntervalWithWebhooks: beside, Webhooks: w,
		Logger: slog.New(slog.NewTextHandler(logWriter{w}, nil)),
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Run(ctx, w); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(func() { w.mu.Unlock(); cancel(); <-ended })
	synctest.Wait()
	w.mu.Lock()
}

func (w *world) list(context.Context) ([]session.Session, []string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists = append(w.lists, time.Now())
	takes := w.takes
	w.mu.Unlock()
	time.Sleep(takes)
	w.mu.Lock()
	return slices.Clone(w.sessions), slices.Clone(w.optedOut), w.err
}

func (w *world) Seen() time.Time       { w.mu.Lock(); defer w.mu.Unlock(); return w.seen }
func (w *world) Knows(sid string) bool { w.mu.Lock(); defer w.mu.Unlock(); return w.known[sid] }

func (w *world) call(what string, a session.Announcement) error {
	w.mu.Lock()
	w.atOnce++
	w.most = max(w.most, w.atOnce)
	w.last = a
	w.calls = append(w.calls, what)
	err, slow := w.refuses, w.slow
	w.mu.Unlock()
	time.Sleep(slow)
	w.mu.Lock()
	w.atOnce--
	w.mu.Unlock()
	return err
}

func (w *world) Announce(_ context.Context, a session.Announcement) error {
	return w.call(a.SessionID, a)
}

func (w *world) Withdraw(_ context.Context, id string) error {
	return w.call("-"+id, session.Announcement{})
}

func (w *world) Resync(_ context.Context, missed []session.Gap) error {
	if len(missed) > 0 {
		w.t.Errorf("%v", missed)
	}
	w.mu.Lock()
	w.resyncs++
	w.mu.Unlock()
	return nil
}

// after lets time pass.
func (w *world) after(d time.Duration, change func()) {
	w.mu.Unlock()
	time.Sleep(d)
	w.mu.Lock()
	if change != nil {
		change()
	}
	w.mu.Unlock()
	synctest.Wait()
	w.mu.Lock()
}

// want checks the calls of the handler since the last check, in any order.
func (w *world) want(ids ...string) {
	w.t.Helper()
	w.after(0, nil)
	slices.Sort(w.calls)
	slices.Sort(ids)
	if diff := cmp.Diff(ids, w.calls); diff != "" && len(ids)+len(w.calls) > 0 {
		w.t.Errorf("calls (-want +got):\n%s", diff)
	}
	w.calls = nil
}

func running(id string) session.Session {
	return session.Session{ID: id, Room: "room of " + id, State: session.Running}
}

func empty(id string) session.Session {
	return session.Session{ID: id, Room: "room of " + id, State: session.Empty}
}

// Each run of a room is announced once, within an interval. An empty room is announced when a
// participant joins. A run that returns to the list counts as new.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, running("RM_1"), empty("RM_2"))
		w.want("RM_1")
		limits := session.Limits{Topics: []string{"chat"}}
		w.after(5*interval-interval/2, func() {
			x := running("RM_3")
			x.Limits = limits
			w.sessions = append(w.sessions, x)
		})
		w.want()
		w.after(interval, nil)
		w.want("RM_3")
		if diff := cmp.Diff(session.Announcement{
			SessionID: "RM_3", Room: "room of RM_3", Source: "poll",
			ReceivedAt: w.lists[len(w.lists)-1], Limits: limits,
		}, w.last); diff != "" {
			t.Error(diff)
		}
		w.after(0, func() { w.sessions = []session.Session{empty("RM_1"), running("RM_2")} })
		w.after(interval, nil)
		w.want("RM_2")
		w.after(0, func() { w.sessions = []session.Session{running("RM_1"), running("RM_3")} })
		w.after(time.Hour, nil)
		w.want("RM_3")
		if w.resyncs != 1 {
			t.Errorf("%d resyncs", w.resyncs)
		}
	})
}

// A room that nobody joins, such as one left by a crashed server, is never announced.
func TestGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, empty("RM_1"))
		w.after(24*time.Hour, nil)
		w.want()
	})
}

// After an error the announcement is retried, with growing pauses, while the room is listed.
func TestRetry(t *testing.T) {
	for _, c := range []struct {
		err           error
		least, atMost int // calls in two minutes
	}{
		{session.ErrLater, 119, 121},
		{errors.New("the disk is nearly full"), 7, 11},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t)
				list := func(id string) func() {
					return func() {
						w.refuses, w.sessions = c.err, []session.Session{running(id)}
					}
				}
				w.after(0, list("RM_1"))
				w.after(interval, nil) // the list
				if w.after(100*time.Millisecond, nil); len(w.calls) != 1 {
					t.Errorf("%d calls without a pause", len(w.calls))
				}
				w.after(2*time.Minute, nil)
				n := len(w.calls)
				if n < c.least || n > c.atMost || !w.last.Redelivered {
					t.Errorf("%d calls, %+v", n, w.last)
				}
				if n := strings.Count(w.log.String(), "not recorded yet"); n > 1 {
					t.Errorf("logged %d times", n)
				}
				w.after(0, func() { w.refuses, w.calls = nil, nil })
				w.after(time.Minute, nil)
				w.want("RM_1")
				w.after(0, list("RM_2"))
				w.after(interval, func() { w.sessions, w.calls = nil, nil })
				w.after(time.Hour, nil)
				if len(w.calls) > 1 {
					t.Errorf("a room that is gone was announced %d times", len(w.calls))
				}
			})
		})
	}
}

// A room whose creator opts out is withdrawn, and announced again after opting in.
func TestOptOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, running("RM_1"))
		w.want("RM_1")
		out := func() { w.sessions, w.optedOut = nil, []string{"RM_1", "RM_2"} }
		in := func() { w.sessions, w.optedOut = []session.Session{running("RM_1")}, nil }
		w.after(0, out)
		w.after(time.Minute, nil)
		w.want("-RM_1", "-RM_2")
		w.after(0, in)
		w.after(time.Minute, nil)
		w.want("RM_1")
		// The request changes while the handler fails: the last one counts.
		w.after(0, func() { w.refuses = errors.New("the disk is full"); out() })
		w.after(2*interval, in)
		w.after(2*interval, func() { w.refuses, w.calls = nil, nil; out() })
		w.after(time.Minute, nil)
		w.want("-RM_1", "-RM_2")
	})
}

// The handler is never called twice at once for one session.
func TestOptOutWhileAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.after(0, func() {
			w.slow, w.sessions = 10*time.Second, []session.Session{running("RM_1")}
		})
		w.after(2*interval, func() { w.sessions, w.optedOut = nil, []string{"RM_1"} })
		w.want("RM_1")
		w.after(5*time.Second, nil)
		w.want()
		w.after(time.Minute, nil)
		w.want("-RM_1")
		if w.most != 1 {
			t.Errorf("%d calls at once", w.most)
		}
	})
}

// Many new rooms do not wait for each other, up to a limit.
func TestManyRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.after(0, func() {
			w.slow = 100 * time.Millisecond
			for i := range 200 {
				w.sessions = append(w.sessions, running(fmt.Sprint("RM_", i)))
			}
		})
		w.after(interval+4*w.slow, nil)
		if len(w.calls) != 200 || w.most != 64 {
			t.Errorf("%d rooms, at most %d at once", len(w.calls), w.most)
		}
	})
}

// While the server cannot be reached, the list is retried; afterwards its rooms are found at once.
func TestOutage(t *testing.T) {
	for _, c := range []struct {
		err    error
		atMost time.Duration // to the next list
	}{
		{errors.New("LiveKit, ListRooms: connection refused"), 2 * time.Second},
		{fmt.Errorf("LiveKit, ListRooms: %w", session.ErrUnauthorized), 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, running("RM_1"))
			w.want("RM_1")
			if s := w.State(); !s.Connected || s.LastError != "" {
				t.Errorf("%+v", s)
			}
			w.after(0, func() { w.err = c.err })
			w.after(time.Hour, nil)
			if s := w.State(); s.Connected || !strings.Contains(s.LastError, "ListRooms") ||
				time.Since(s.Since) < 59*time.Minute {
				t.Errorf("%+v", s)
			}
			if n := strings.Count(w.log.String(), "cannot list"); n < 2 || n > 7 {
				t.Errorf("logged %d times in an hour", n)
			}
			w.after(0, func() { w.err, w.sessions = nil, append(w.sessions, running("RM_2")) })
			w.after(c.atMost, nil)
			w.want("RM_2")
			if w.resyncs != 2 || !w.State().Connected {
				t.Errorf("%d resyncs, %+v", w.resyncs, w.State())
			}
		})
	}
}

// A server that is slow to answer spends a tenth of the time on our lists.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.after(0, func() { w.takes, w.lists = 5*time.Second, nil })
		w.after(500*time.Second, nil)
		if n := len(w.lists); n < 9 || n > 12 {
			t.Errorf("%d lists in 500 s", n)
		}
	})
}
