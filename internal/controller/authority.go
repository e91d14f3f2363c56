package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

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
	case err != nil:
		return "", "", err
	}
	return t.URL, t.Token, nil
}

// State implements [recorder.Authority]. Where the session cannot be read (a
// LiveKit without Redis makes that a 500 as long as it runs), the token endpoint
// decides: it needs nothing but the database of the API. The session is asked for once only: while we wait to rejoin, a class may be
// going on.
func (a *authority) State(ctx context.Context) (recorder.SessionState, error) {
	s, err := a.api.SessionOnce(ctx, a.session)
	switch {
	case err == nil && s.Active():
		return recorder.SessionRunning, nil
	case err == nil, errors.Is(err, syncflow.ErrNotFound):
		return recorder.SessionEnded, nil
	case errors.Is(err, syncflow.ErrRoomNotFound):
		return recorder.SessionRoomMissing, nil
	case ctx.Err() != nil:
		return 0, err
	}
	_, _, terr := a.Token(ctx, "textegress-probe-"+strings.ToLower(rand.Text()[:6]))
	switch {
	case terr == nil:
		return recorder.SessionRunning, nil
	case errors.Is(terr, recorder.ErrSessionEnded):
		return recorder.SessionEnded, nil
	}
	return 0, errors.Join(err, terr)
}
