package rabbitmq

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/syncflow/textegress/internal/session"
)

// SourceName is the Source in the announcements of this package.
const SourceName = "rabbitmq"

// Bounds of an announcement, which has a few hundred bytes. Room names have at most 50 characters
// in SyncFlow and 256 in LiveKit.
const (
	maxBody = 16 << 10
	maxRoom = 1024
)

// parse reads the body {"sessionId": UUID, "sessionName": room}; other keys are allowed. Errors do
// not quote the body: it is not trusted, and room names are logged only where they are known to be
// room names.
func parse(body []byte) (session.Announcement, error) {
	switch {
	case len(body) > maxBody:
		return session.Announcement{}, errors.New("too large")
	case !utf8.Valid(body):
		// the JSON decoder would replace invalid UTF-8, and so change a room name
		return session.Announcement{}, errors.New("not UTF-8")
	}
	var m struct {
		SessionID   *string `json:"sessionId"`
		SessionName *string `json:"sessionName"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&m); err != nil {
		return session.Announcement{}, errors.New("not a JSON object of the expected form")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return session.Announcement{}, errors.New("text after the JSON object")
	}
	switch {
	case m.SessionID == nil || m.SessionName == nil:
		return session.Announcement{}, errors.New("without sessionId or sessionName: another " +
			"kind of message")
	case !session.IsUUID(*m.SessionID):
		return session.Announcement{}, errors.New("with a sessionId that is not a UUID")
	case *m.SessionName == "" || len(*m.SessionName) > maxRoom:
		return session.Announcement{}, errors.New("with a sessionName that is empty or too long")
	}
	return session.Announcement{
		SessionID: strings.ToLower(*m.SessionID), Room: *m.SessionName, Source: SourceName,
	}, nil
}
