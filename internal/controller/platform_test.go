package controller_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// TestAnotherPlatform records sessions of a platform that is not SyncFlow, from the announcement to
// the end, over a restart.
func TestAnotherPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := newBareLiveKit(), t.TempDir()
		start := func() (ctl *controller.Controller, s *spool.Spool, stop func()) {
			s, err := spool.Open(dir, spool.Options{
				SyncInterval: time.Hour, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctl = controller.New(controller.Options{
				ProjectID: "school", Instance: "i", Registry: l,
				Sources: []session.Source{l.source()}, Spool: s, Room: l,
				RejoinWindow: 10 * time.Minute,
				Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); ctl.Run(ctx) }()
			synctest.Wait()
			return ctl, s, func() {
				cancel()
				<-done
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		want := func(s *spool.Spool, lines ...string) {
			t.Helper()
			synctest.Wait()
			(&world{t: t, spool: s}).want(lines...)
		}

		_, s, stop := start()
		h := <-l.handler
		l.open(t, h, "class", "RM_aB3dE")
		want(s, "RM_aB3dE part 1 open")
		l.conn("RM_aB3dE").Handler.Packet(room.Reliable, time.Now(), []byte("one"))
		l.conn("RM_aB3dE").Handler.Packet(room.Reliable, time.Now(), []byte("two"))
		time.Sleep(time.Second) // recordings are listed by the time of their creation
		stop()

		// The session continues after a restart as its next part.
		ctl, s, stop := start()
		defer stop()
		h = <-l.handler
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped", "RM_aB3dE part 2 open")
		if r := s.Recordings()[0].Info(); r.Source != "webhook" || r.RoomName != "class" {
			t.Errorf("%+v", r)
		}

		time.Sleep(time.Second)
		// The name is used again, by a session of its own, whose id differs in case only.
		l.open(t, h, "class", "RM_Ab3De")
		time.Sleep(time.Minute)
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped",
			"RM_aB3dE part 2 sealed COMPLETE room_deleted", "RM_Ab3De part 1 open")
		if id, err := ctl.Record(t.Context(), "RM_Ab3De"); err != nil ||
			id != s.Recordings()[2].ID() {
			t.Errorf("Record = %q, %v", id, err)
		}
		l.closeRoom("class")
		time.Sleep(time.Hour)
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped",
			"RM_aB3dE part 2 sealed COMPLETE room_deleted",
			"RM_Ab3De part 1 sealed COMPLETE room_deleted")
		if snap := ctl.Snapshot(); snap.State != controller.StateRunning ||
			len(snap.Recorders)+len(snap.Unrequested)+len(snap.Unrecorded) != 0 {
			t.Errorf("%+v", snap)
		}
	})
}
