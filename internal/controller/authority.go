package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/syncflow"
)

// authority answers for one session from the SyncFlow API.
type authority struct {
	api     API
	session string
	room    string
}

// Token implements [recorder.Authority].
func (a *authority) Token(ctx context.Context, identity string) (url, token string, err error) {
	t, err := a.api.Token(ctx, a.session, a.room, identity)
	switch {
	case errors.Is(err, syncflow.ErrSessionNotActive), errors.Is(err, syncflow.ErrNotFound):
		return "", "", fmt.Errorf("%w: %w", recorder.ErrSessionEnded, err)
	case errors.Is(err, syncflow.ErrWrongRoom):
		return "", "", fmt.Errorf("%w: %w", recorder.ErrWrongRoom, err)
	case err != nil:
		return "", "", err
	}
	return t.URL, t.Token, nil
}

// State implements [recorder.Authority]. Who is in the room is the gentlest question that tells an
// ended session, a room that is gone and a room that is in use apart. The API answers that a
// session is over without asking LiveKit; where it cannot ask LiveKit nobody knows, and the token
// decides.
func (a *authority) State(ctx context.Context) (recorder.SessionState, error) {
	n, err := a.api.Participants(ctx, a.session)
	switch {
	case errors.Is(err, syncflow.ErrSessionNotActive), errors.Is(err, syncflow.ErrNotFound):
		return recorder.SessionEnded, nil
	case err != nil:
		return 0, err
	case n == 0:
		return recorder.SessionRoomMissing, nil
	}
	return recorder.SessionRunning, nil
}
