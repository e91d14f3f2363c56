package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// liveKitWorld is a service that records a [bareLiveKit].
type liveKitWorld struct {
	*bareLiveKit

	t       *testing.T
	dir     string
	fs      durable.FS // nil: the operating system's
	change  func(*controller.Options)
	spool   *spool.Spool
	ctl     *controller.Controller
	handler session.Handler
	stop    func()
}

func newLiveKitWorld(t *testing.T) *liveKitWorld {
	return &liveKitWorld{bareLiveKit: newBareLiveKit(), t: t, dir: t.TempDir()}
}

func (w *liveKitWorld) start() {
	w.t.Helper()
	s, err := spool.Open(w.dir, spool.Options{
		SyncInterval: time.Hour, Logger: slog.New(slog.DiscardHandler), FS: w.fs,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	o := controller.Options{
		ProjectID: "school", Instance: "i", Registry: w, Sources: []session.Source{w.source()},
		Spool: s, Room: w, RejoinWindow: 10 * time.Minute,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
	if w.change != nil {
		w.change(&o)
	}
	w.spool, w.ctl = s, controller.New(o)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.ctl.Run(ctx) }()
	w.handler = <-w.bareLiveKit.handler
	w.stop = func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	}
	synctest.Wait()
}

func (w *liveKitWorld) want(lines ...string) {
	w.t.Helper()
	synctest.Wait()
	(&world{t: w.t, spool: w.spool}).want(lines...)
}

// announce announces a run of a room that is open already.
func (w *liveKitWorld) announce(name, sid string) {
	w.t.Helper()
	if err := w.handler.Announce(w.t.Context(), session.Announcement{
		SessionID: sid, Room: name, Source: "poll", ReceivedAt: time.Now(),
	}); err != nil {
		w.t.Error(err)
	}
}

// egress returns the id of the n-th recording.
func (w *liveKitWorld) egress(n int) string { return w.spool.Recordings()[n].ID() }

// TestStop: a stop holds against announcements, the list of sessions, the end of the room and
// restarts, until an operator runs `textegress record`.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t)
		w.change = func(o *controller.Options) { o.RecordAll = true }
		w.start()
		defer func() { w.stop() }()
		w.open(t, w.handler, "class", "RM_1")
		w.want("RM_1 part 1 open")
		id := w.egress(0)
		for range 2 {
			if err := w.ctl.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		w.want("RM_1 part 1 sealed COMPLETE stopped")
		stays := func(lines ...string) {
			t.Helper()
			w.announce("class", "RM_1")
			time.Sleep(2 * time.Hour)
			w.announce("class", "RM_1")
			w.want(lines...)
			if s := w.ctl.Snapshot(); len(s.Unrecorded)+len(s.Unrequested)+len(s.Recorders) != 0 {
				t.Errorf("snapshot: %+v", s)
			}
		}
		stays("RM_1 part 1 sealed COMPLETE stopped")
		w.stop()
		w.start()
		stays("RM_1 part 1 sealed COMPLETE stopped")

		if _, err := w.ctl.Record(t.Context(), "RM_1"); err != nil {
			t.Fatal(err)
		}
		w.want("RM_1 part 1 sealed COMPLETE stopped", "RM_1 part 2 open")
		if err := w.ctl.Stop(t.Context(), id); err != nil { // a repeated request, late
			t.Fatal(err)
		}
		w.want("RM_1 part 1 sealed COMPLETE stopped", "RM_1 part 2 open")
		time.Sleep(time.Second)
		w.conn("RM_1").Stop(room.ReasonDuplicateIdentity)
		if err := w.ctl.Stop(t.Context(), w.egress(1)); err != nil {
			t.Fatal(err)
		}
		stays("RM_1 part 1 sealed COMPLETE stopped", "RM_1 part 2 sealed COMPLETE stopped")

		if err := w.ctl.Stop(t.Context(), "DE_none"); !errors.Is(err, controller.ErrNoRecording) {
			t.Errorf("stop of an unknown recording: %v", err)
		}
	})
}

// TestStop_BetweenParts: a stop of a recording that has ended, in a break or after a restart,
// applies to a current or later part.
func TestStop_BetweenParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		first := w.spool.Recordings()[0].ID()
		w.breakBegins()
		w.registry.comeBack("s1")
		time.Sleep(16 * time.Second)
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
		if err := w.ctl.Stop(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 sealed COMPLETE stopped")
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		w.breakBegins()
		if err := w.ctl.Stop(t.Context(), w.spool.Recordings()[0].ID()); err != nil {
			t.Fatal(err)
		}
		w.registry.comeBack("s1")
		for range 2 {
			time.Sleep(time.Minute)
			w.src.announce(t, "s1")
			time.Sleep(time.Hour)
			w.want("s1 part 1 sealed COMPLETE room_closed")
			w.stop()
			w.start()
		}
	})
}

// TestStop_WrongRoom: a recording that waits for the name of its room is sealed at once.
func TestStop_WrongRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.noRedis = true
		w.registry.set("s1", "Started")
		w.start()
		defer func() { w.stop() }()
		w.src.announceRoom(t, "s1", "forged")
		time.Sleep(2 * time.Minute)
		w.want("s1 part 1 open")
		if err := w.ctl.Stop(t.Context(), w.spool.Recordings()[0].ID()); err != nil {
			t.Fatal(err)
		}
		w.want("s1 part 1 sealed ABORTED stopped")
	})
}

// TestStop_Killed: once Stop has returned, no kill or power failure brings the recorder back.
func TestStop_Killed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t)
		mem := durabletest.NewCrashFS(0, 0)
		w.dir, w.fs = "/data", mem
		w.start()
		w.open(t, w.handler, "class", "RM_1")
		w.open(t, w.handler, "other", "RM_2")
		synctest.Wait()
		var after durable.FS
		// The state of the disk at the moment at which Stop and Withdraw return.
		for _, rec := range w.spool.Recordings() {
			var err error
			if rec.Info().SessionID == "RM_1" {
				err = w.ctl.Stop(t.Context(), rec.ID())
			} else {
				err = w.handler.Withdraw(t.Context(), "RM_2")
			}
			if err != nil {
				t.Fatal(err)
			}
			after = mem.Restart(nil)
		}
		w.stop()
		w.fs = after
		joins := len(w.joins())
		w.start()
		defer func() { w.stop() }()
		time.Sleep(time.Hour)
		for _, rec := range w.spool.Recordings() {
			want := map[string]string{"RM_1": "stopped", "RM_2": "opted_out"}
			sealed, ok := rec.Sealed()
			if id := rec.Info().SessionID; !ok || sealed.Reason != want[id] {
				t.Errorf("%s: %+v", id, sealed)
			}
		}
		if n := len(w.joins()); n != joins {
			t.Errorf("%d joins after the restart", n-joins)
		}
	})
}

// TestWithdraw: the recorder leaves a room whose creator opts out; after the creator opts in again,
// an announcement starts the next part.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t)
		w.start()
		defer func() { w.stop() }()
		if err := w.handler.Withdraw(t.Context(), "RM_1"); err != nil {
			t.Error(err)
		}
		w.open(t, w.handler, "class", "RM_1")
		synctest.Wait()
		time.Sleep(time.Minute)
		w.optOut("RM_1", true)
		if err := w.handler.Withdraw(t.Context(), "RM_1"); err != nil {
			t.Fatal(err)
		}
		err := w.handler.Announce(t.Context(), session.Announcement{
			SessionID: "RM_1", Room: "class", ReceivedAt: time.Now(),
		})
		if err != nil && !errors.Is(err, session.ErrLater) { // the recording may be sealed already
			t.Errorf("announced while the recording is sealed: %v", err)
		}
		w.want("RM_1 part 1 sealed COMPLETE opted_out")
		for range 2 {
			if err := w.handler.Withdraw(t.Context(), "RM_1"); err != nil {
				t.Error(err)
			}
			w.announce("class", "RM_1")
			time.Sleep(time.Hour)
			w.want("RM_1 part 1 sealed COMPLETE opted_out")
			w.stop()
			w.start()
		}
		w.optOut("RM_1", false)
		time.Sleep(time.Hour)
		w.want("RM_1 part 1 sealed COMPLETE opted_out")
		w.announce("class", "RM_1")
		w.want("RM_1 part 1 sealed COMPLETE opted_out", "RM_1 part 2 open")

		// A stop overrides an opt-in of the creator.
		if err := w.ctl.Stop(t.Context(), w.egress(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := w.handler.Withdraw(t.Context(), "RM_1"); err != nil {
			t.Error(err)
		}
		w.announce("class", "RM_1")
		time.Sleep(time.Hour)
		w.want("RM_1 part 1 sealed COMPLETE opted_out", "RM_1 part 2 sealed COMPLETE stopped")
	})
}
