package rabbitmq

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

func TestPoisonIsSkipped(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		for _, p := range []string{
			"", "hunter2", `{"sessionId":"x","sessionName":"hunter2"}`,
			`{"hunter2":1}`, "[]", "\xff", body(1) + body(2), strings.Repeat("hunter2", 10000),
		} {
			g.broker.publish(p)
		}
		g.broker.publish(body(3))
		g.expect("room-3")
		if strings.Contains(g.log.String(), "hunter2") {
			t.Errorf("the content was logged:\n%s", g.log)
		}
		if g.broker.held() != 0 {
			t.Error("poison stays in the queue")
		}
	})
}

func TestFailedAnnouncementComesAgainAndOthersGoOn(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		var times []time.Duration
		begin := time.Now()
		g.handle = func(a session.Announcement) error {
			if a.SessionID != id(1) {
				return nil
			}
			times = append(times, time.Since(begin).Round(time.Second))
			if len(times) < 8 {
				return errors.New("disk full")
			}
			return nil
		}
		g.start()
		g.broker.publish(body(1))
		g.broker.publish(body(2))
		g.expect("room-1", "room-2")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s},
			times); diff != "" {
			t.Error(diff)
		}
		if n := g.broker.held(); n != 0 {
			t.Error("not acknowledged in the end")
		}
		if n := strings.Count(g.log.String(),
			"level=WARN msg=\"cannot handle an announcement"); n != 1 {
			t.Errorf("the failure was logged %d times, want once:\n%s", n, g.log)
		}
	})
}

func TestEveryAnnouncementFailingKeepsThemAll(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		broken := true
		done := map[string]bool{}
		g.handle = func(a session.Announcement) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			if broken {
				return errors.New("disk full")
			}
			done[a.SessionID] = true
			return nil
		}
		g.start()
		for n := range 100 { // more than are prefetched
			g.broker.publish(body(n))
		}
		time.Sleep(5 * time.Minute)
		g.mu.Lock()
		broken = false
		g.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) != 100 {
			t.Errorf("%d of 100 were handled in the end", len(done))
		}
	})
}

func TestUnacknowledgedAnnouncementSurvivesACut(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		enter, leave := make(chan struct{}, 10), make(chan struct{})
		g.handle = func(session.Announcement) error {
			enter <- struct{}{}
			<-leave
			return nil
		}
		g.start()
		g.broker.publish(body(1))
		<-enter
		g.broker.cut() // while the handler works
		time.Sleep(time.Minute)
		close(leave)
		g.expect("room-1", "room-1 r b")
		if n := g.broker.held(); n != 0 {
			t.Error("not acknowledged in the end")
		}
	})
}

func TestStopAcknowledgesWhatWasHandled(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		enter := make(chan struct{})
		g.handle = func(session.Announcement) error {
			close(enter)
			time.Sleep(time.Second)
			return nil
		}
		g.start()
		g.broker.publish(body(1))
		<-enter
		g.stop()
		if q := g.broker.only(); len(q.ready) != 0 {
			t.Errorf("%+v stays in the queue", q.ready)
		}
	})
}

// handlerFuncs is a handler that does not look at what it is given.
type handlerFuncs struct {
	announce func() error
	resync   func(context.Context) error
}

func (f handlerFuncs) Announce(context.Context, session.Announcement) error { return f.announce() }

func (handlerFuncs) Withdraw(context.Context, string) error { return nil }

func (f handlerFuncs) Resync(ctx context.Context, _ []session.Gap) error { return f.resync(ctx) }

func TestSlowReconciliationDoesNotStopListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		var calls, heard atomic.Int64
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			_ = g.r.Run(ctx, handlerFuncs{
				announce: func() error { heard.Add(1); return nil },
				resync: func(ctx context.Context) error {
					calls.Add(1)
					return backoff.Sleep(ctx, time.Hour)
				},
			})
		}()
		synctest.Wait()
		g.broker.publish(body(1))
		synctest.Wait()
		for range 3 {
			g.broker.cut()
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if heard.Load() != 1 || calls.Load() != 1 {
			t.Errorf("%d heard, %d calls", heard.Load(), calls.Load())
		}
		time.Sleep(time.Hour)
		if calls.Load() < 2 {
			t.Errorf("%d calls after the first one ended: the gaps in between are forgotten",
				calls.Load())
		}
		cancel()
		<-finished
	})
}
