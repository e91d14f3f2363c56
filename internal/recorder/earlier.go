package recorder

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

const (
	// keepEvery is how often it is noted on disk that the recorder is in the room. After a restart
	// the token is used for REJOIN_WINDOW from then on.
	keepEvery = 2 * time.Minute
	// A token is not used any more when it has expired by our clock for so long.
	clockLeeway = time.Minute
)

// keepPause returns the time between two notes, 0 for none.
func (r *Recorder) keepPause() time.Duration { return min(keepEvery, r.o.RejoinWindow/2) }

// keep notes what admitted to the room for the next process. It is no condition of anything: what
// cannot be kept costs time after a restart while SyncFlow does not answer.
func (t *tries) keep() {
	r := t.r
	if r.keepPause() <= 0 {
		return
	}
	err := r.rec.KeepJoin(spool.Join{
		URL: t.earlier.url, Token: t.earlier.token, Identity: t.earlier.identity,
		InRoomUnixNS: time.Now().UnixNano(),
	})
	if err != nil && !t.notKept {
		r.log.Warn("cannot keep the join token for a restart", "error", err)
	}
	t.notKept = err != nil
}

// kept takes up what an earlier process noted.
func (t *tries) kept() {
	j, ok := t.r.rec.Join()
	if !ok {
		return
	}
	t.earlier = grant{url: j.URL, token: j.Token, identity: j.Identity}
	t.earlierUntil = time.Unix(0, j.InRoomUnixNS).Add(t.r.o.RejoinWindow)
}

// earlierUsable reports whether the token of the last stay may be used unasked: for REJOIN_WINDOW
// after the loss, because the room may be over and joining would make it again.
func (t *tries) earlierUsable() bool {
	r, now := t.r, time.Now()
	if t.earlier.token == "" || t.duplicates > 0 || now.Sub(r.lostAt) >= r.o.RejoinWindow {
		return false
	}
	if !t.earlierUntil.IsZero() && !now.Before(t.earlierUntil) {
		return false
	}
	end, ok := expiry(t.earlier.token)
	return !ok || now.Before(end.Add(clockLeeway))
}

// expiry returns when a LiveKit token expires, false where it does not say. Nothing else of it is
// believed, and not even this decides whether it is good: LiveKit does.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(b, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
