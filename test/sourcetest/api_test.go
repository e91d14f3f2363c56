package sourcetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/test/stack"
)

func TestClientAgainstTheStandIn(t *testing.T) {
	ctx, p := t.Context(), project()
	c := api(t, p)
	if got, err := c.Project(ctx); err != nil || got.ID != p.ID || got.Name != p.Name {
		t.Errorf("Project = %+v, %v", got, err)
	}
	x := create(t, "api-1")
	s, err := c.Session(ctx, x.ID)
	if err != nil || !s.Active() || s.RoomName != x.LivekitRoomName || s.StartedAt.IsZero() {
		t.Errorf("Session = %+v, %v", s, err)
	}
	all, err := c.Sessions(ctx)
	if err != nil || !slices.ContainsFunc(all,
		func(s syncflow.Session) bool { return s.ID == x.ID && s.Active() }) {
		t.Errorf("Sessions = %+v, %v", all, err)
	}
	if tok, err := c.Token(ctx, x.ID, x.LivekitRoomName, "bot"); err != nil || tok.JWT == "" ||
		tok.URL == "" {
		t.Errorf("Token = %v, %v", tok, err)
	}
	if _, err := c.Session(ctx, uuid.NewString()); !errors.Is(err, syncflow.ErrNotFound) {
		t.Errorf("an unknown session: %v", err)
	}
	if _, err := servers.SyncFlow.StopSession(ctx, p, x.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(ctx, x.ID, x.LivekitRoomName, "bot"); !errors.Is(err,
		session.ErrEnded) {
		t.Errorf("a stopped session: %v", err)
	}
	if _, err := api(t, servers.SyncFlow.Foreign).Project(ctx); err != nil {
		t.Errorf("somebody else's project, with his key: %v", err)
	}
	wrong := p
	wrong.ID = servers.SyncFlow.Foreign.ID
	if _, err := api(t, wrong).Project(ctx); !errors.Is(err, session.ErrUnauthorized) {
		t.Errorf("a key and the id of another project: %v", err)
	}
}

// TestTokenNeedsNoLiveKit: where LiveKit has no Redis, everything about running sessions answers
// 500 except the token.
func TestTokenNeedsNoLiveKit(t *testing.T) {
	ctx := t.Context()
	x := create(t, "api-2")
	if err := servers.SyncFlow.Control(ctx, stack.Settings{NoRedis: true}); err != nil {
		t.Fatal(err)
	}
	c := api(t, project())
	_, err := c.Session(ctx, x.ID)
	if a, ok := errors.AsType[*syncflow.APIError](err); !ok || a.Status != 500 ||
		errors.Is(err, syncflow.ErrNotFound) {
		t.Errorf("Session = %v", err)
	}
	if _, err := c.Token(ctx, x.ID, x.LivekitRoomName, "bot"); err != nil {
		t.Errorf("Token = %v", err)
	}
	if err := servers.SyncFlow.ResetControl(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRegistrationThatFailedButTookEffect(t *testing.T) {
	ctx := t.Context()
	err := servers.SyncFlow.Control(ctx,
		stack.Settings{Fail: map[string]stack.Fault{
			"^POST .*/devices/register$": {Status: 500, After: true, Times: 1},
		}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := api(t, project()).EnsureDevice(ctx, "text-egress", "adopted")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := servers.SyncFlow.Devices(ctx, project())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, x := range devices {
		if x.Group == "adopted" {
			n++
		}
	}
	if n != 1 || d.BindingKey != project().ID+".adopted" {
		t.Errorf("%d rows, %+v", n, d)
	}
}
