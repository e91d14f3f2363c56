package recorder

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

const (
	// saveEvery is the interval at which the recorder saves its token and the time at which it was
	// in the room. After a restart, the token is used until REJOIN_WINDOW after that time.
	saveEvery = 2 * time.Minute
	// clockLeeway is how long a token is still used after its expiry by our clock.
	clockLeeway = time.Minute
)

// saveInterval returns the time between two saves; 0: the token is not saved.
func (r *Recorder) saveInterval() time.Duration { return min(saveEvery, r.o.RejoinWindow/2) }

// saveGrant saves the token of the connection for the next process. A failure is harmless: without
// the saved token, a restart only takes longer while the platform does not answer.
func (j *joiner) saveGrant() {
	r := j.r
	if r.saveInterval() <= 0 {
		return
	}
	err := r.spooled.KeepJoin(spool.Join{
		URL: j.last.url, Token: j.last.token, Identity: j.last.identity,
		NodeID: j.lastNode, InRoomUnixNS: time.Now().UnixNano(),
	})
	if err != nil && !j.notSaved {
		r.log.Warn("cannot save the join token for a restart", "error", err)
	}
	j.notSaved = err != nil
}

// loadGrant loads the token that an earlier process saved.
func (j *joiner) loadGrant() {
	saved, ok := j.r.spooled.Join()
	if !ok {
		return
	}
	j.lastNode = saved.NodeID
	j.last = grant{url: saved.URL, token: saved.Token, identity: saved.Identity}
	j.lastUntil = time.Unix(0, saved.InRoomUnixNS).Add(j.r.o.RejoinWindow)
}

// lastUsable reports whether the token of the last connection may be used without an answer from
// the authority. That is so only for REJOIN_WINDOW after the loss. Later, the session may have
// ended, and a join would create the room again.
func (j *joiner) lastUsable() bool {
	r, now := j.r, time.Now()
	if j.last.token == "" || j.duplicates > 0 || now.Sub(r.lostAt) >= r.o.RejoinWindow {
		return false
	}
	if !j.lastUntil.IsZero() && !now.Before(j.lastUntil) {
		return false
	}
	end, ok := expiry(j.last.token)
	return !ok || now.Before(end.Add(clockLeeway))
}

// expiry returns the time at which a LiveKit token expires, or false if the token does not state
// it. It does not verify the token; LiveKit does.
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
