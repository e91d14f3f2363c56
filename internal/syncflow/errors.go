package syncflow

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/syncflow/textegress/internal/session"
)

// ErrNotFound means that SyncFlow has no such session or device; for a session it also matches
// [session.ErrUnknown]. A 404 without SyncFlow's own message is not this error: it may come from a
// proxy, and must not end a recording.
var ErrNotFound = errors.New("no such record")

// APIError is an error answer of the API, or of a proxy in front of it.
type APIError struct {
	Status   int    // HTTP status
	Message  string // text of the answer, see redact.Text
	Endpoint string // the call, as named in the metrics: "project", "sessions", …
}

func (e *APIError) Error() string {
	s := fmt.Sprintf("SyncFlow API, %s: status %d", e.Endpoint, e.Status)
	if e.Message != "" {
		s += ": " + e.Message
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		s += " (the API key, its secret and the project id must belong together, and this " +
			"machine's clock must be right)"
	case e.Status == http.StatusNotFound && strings.EqualFold(e.Message, "Project not found"):
		s += " (the project id belongs to another user than the API key)"
	case e.Status == http.StatusNotFound && !e.Is(ErrNotFound):
		s += " (is the server URL that of the SyncFlow API?)"
	case e.Status >= 300 && e.Status < 400:
		s += " (use the address it redirects to as the server URL)"
	}
	return s
}

// Is maps SyncFlow's answers to the errors of package session. The messages are compared in full,
// because they are constants in the server.
func (e *APIError) Is(target error) bool {
	switch target {
	case session.ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case session.ErrEnded:
		return e.Status == http.StatusBadRequest &&
			strings.EqualFold(e.Message, "Session is not active")
	case session.ErrRoomMissing:
		return e.Status == http.StatusBadRequest && strings.EqualFold(e.Message, "Room not found")
	case session.ErrWrongRoom: // the message continues in brackets
		return e.Status == http.StatusInternalServerError && hasPrefixFold(e.Message, msgWrongRoom)
	case ErrNotFound, session.ErrUnknown: // 500 for sessions, 404 for devices
		return (e.Status == http.StatusInternalServerError || e.Status == http.StatusNotFound) &&
			strings.EqualFold(e.Message, "Record not found")
	}
	return false
}

const msgWrongRoom = "invalid room name"

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// transient reports whether the same request may succeed later without any change.
func (e *APIError) transient() bool {
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout {
		return true
	}
	if e.Status < 500 || e.Status == http.StatusNotImplemented {
		return false
	}
	m := strings.ToLower(e.Message)
	for _, definite := range []string{
		"record not found", "invalid session id", msgWrongRoom,
		"value too long",
	} {
		if strings.HasPrefix(m, definite) {
			return false
		}
	}
	return true
}
