package syncflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// DeviceName is the name under which the service registers in its device group. All deployments use
// the same name, so that a restart adopts the existing row instead of adding one.
const DeviceName = "text-egress"

// Registry provides the sessions of a SyncFlow project. It implements [session.Registry].
type Registry struct {
	client *Client
	group  string
}

// NewRegistry returns the registry of a client's project, which registers the service in a device
// group. It does not call the API.
func NewRegistry(c *Client, group string) *Registry { return &Registry{client: c, group: group} }

// Project implements [session.Registry].
func (r *Registry) Project(ctx context.Context) (session.Project, error) {
	p, err := r.client.Project(ctx)
	if err != nil {
		return session.Project{}, err
	}
	return session.Project{Name: p.Name, LiveKitURL: p.LiveKitURL}, nil
}

// Register implements [session.Registry]: SyncFlow announces the sessions of a device group to its
// registered devices only.
func (r *Registry) Register(ctx context.Context) error {
	_, err := r.Device(ctx)
	return err
}

// Device returns our device, and registers it if there is none.
func (r *Registry) Device(ctx context.Context) (Device, error) {
	d, err := r.client.EnsureDevice(ctx, DeviceName, r.group)
	if err != nil {
		return Device{}, fmt.Errorf("register in device group %q: %w", r.group, err)
	}
	return d, nil
}

// ProjectToken returns a fresh project token, see [Client.ProjectToken].
func (r *Registry) ProjectToken(ctx context.Context) (string, error) {
	return r.client.ProjectToken(ctx)
}

// Announces reports whether SyncFlow can announce sessions, see [Client.Announces].
func (r *Registry) Announces(ctx context.Context) (bool, error) {
	return r.client.Announces(ctx, r.group)
}

// Sessions implements [session.Registry].
func (r *Registry) Sessions(ctx context.Context) ([]session.Session, error) {
	all, err := r.client.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	var running []session.Session
	for _, s := range all {
		if s.Active() {
			running = append(running, s.session())
		}
	}
	return running, nil
}

// Session implements [session.Registry].
func (r *Registry) Session(ctx context.Context, id string) (session.Session, error) {
	s, err := r.client.Session(ctx, id)
	switch {
	case err != nil:
		return session.Session{}, err
	case !s.Active():
		return session.Session{}, fmt.Errorf("session %s is %s, not Started: %w", id,
			strings.ToLower(s.Status), session.ErrEnded)
	}
	return s.session(), nil
}

// State implements [session.Registry]. The participants of the room are the cheapest query that
// distinguishes an ended session, a missing room and a room in use. The API reports that a session
// is over without querying LiveKit. If the API cannot reach LiveKit, the state is unknown and the
// token request decides.
func (r *Registry) State(ctx context.Context, s session.Session) (session.State, error) {
	n, err := r.client.Participants(ctx, s.ID)
	switch {
	case errors.Is(err, session.ErrEnded):
		return session.Ended, nil
	case err != nil:
		return 0, err
	case n == 0:
		return session.Empty, nil
	}
	return session.Running, nil
}

// Token implements [session.Registry].
func (r *Registry) Token(ctx context.Context, s session.Session, identity string) (session.Token,
	error,
) {
	return r.client.Token(ctx, s.ID, s.Room, identity)
}

// SessionOf implements [session.Registry].
func (r *Registry) SessionOf(room session.Room) string { return SessionOf(room) }

// Platform implements [session.Registry].
func (r *Registry) Platform() string { return "SyncFlow" }

// CanonicalID implements [session.Registry].
func (r *Registry) CanonicalID(text string) string { return strings.ToLower(text) }

// ClockOffset implements [session.Registry].
func (r *Registry) ClockOffset() (time.Duration, bool) { return r.client.ClockOffset() }
