package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// authority is the [recorder.Authority] of one session.
type authority struct {
	registry  session.Registry
	recording *spool.Recording
}

// session returns the session as the platform knows it now.
func (a *authority) session() session.Session { return sessionOf(a.recording) }

// sessionOf returns the session of a recording as the platform knows it now.
func sessionOf(rec *spool.Recording) session.Session {
	return session.Session{ID: rec.Run(), Room: rec.Info().RoomName}
}

// Token implements [recorder.Authority].
func (a *authority) Token(ctx context.Context, identity string) (url, token string, err error) {
	t, err := a.registry.Token(ctx, a.session(), identity)
	if errors.Is(err, session.ErrUnknown) {
		err = fmt.Errorf("%w: %w", session.ErrEnded, err)
	}
	if err != nil {
		return "", "", err
	}
	return t.URL, t.JWT, nil
}

// State implements [recorder.Authority].
func (a *authority) State(ctx context.Context) (session.State, error) {
	return stateOf(ctx, a.registry, a.session())
}

// stateOf requests the state of a session. An unknown session counts as ended.
func stateOf(ctx context.Context, r session.Registry, s session.Session) (session.State, error) {
	state, err := r.State(ctx, s)
	if errors.Is(err, session.ErrUnknown) {
		return session.Ended, nil
	}
	return state, err
}
