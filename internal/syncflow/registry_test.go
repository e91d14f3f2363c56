package syncflow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/syncflow"
)

var _ session.Registry = (*syncflow.Registry)(nil)

// The registry answers in the words of package session.
func TestRegistry(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		room   bool
		id     string
		state  session.State
		err    error // of State
		detail error // of Session
		list   int
	}{
		"runs": {
			status: "Started", room: true, id: sessionID, state: session.Running,
			list: 1,
		},
		"empty": {
			status: "Started", id: sessionID, state: session.Empty,
			detail: session.ErrRoomMissing, list: 1,
		},
		"ended": {
			status: "Stopped", id: sessionID, state: session.Ended,
			detail: session.ErrEnded,
		},
		"never was": {
			status: "Stopped", id: ghostID, err: session.ErrUnknown,
			detail: session.ErrUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.status, f.room = c.status, c.room
			r := syncflow.NewRegistry(f.client(t, f), "text-egress")
			state, err := r.State(t.Context(), session.Session{ID: c.id, Room: "class-1"})
			if state != c.state || !errors.Is(err, c.err) {
				t.Errorf("State = %v, %v, want %v, %v", state, err, c.state, c.err)
			}
			s, err := r.Session(t.Context(), c.id)
			if !errors.Is(err, c.detail) || err == nil && (s.ID != c.id || s.Room != "class-1") {
				t.Errorf("Session = %+v, %v, want %v", s, err, c.detail)
			}
			list, err := r.Sessions(t.Context())
			if err != nil || len(list) != c.list {
				t.Errorf("Sessions = %+v, %v, want %d", list, err, c.list)
			}
			for _, s := range list {
				if s.Room != "class-1" || !s.StartedAt.Equal(time.Unix(1750000000, 0)) {
					t.Errorf("Sessions: %+v", s)
				}
			}
		})
	}
}
