package rabbitmq

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/syncflow/textegress/internal/session"
)

// FuzzParse: whatever another client of the broker publishes, an announcement has a session id that
// is a UUID and the name of a room as it was written, and an error does not quote the message.
func FuzzParse(f *testing.F) {
	const id = "c1d2e3f4-0000-4000-8000-000000000001"
	for _, body := range []string{
		`{"sessionId":"` + id + `","sessionName":"class 1"}`,
		`{"sessionId":"` + strings.ToUpper(id) + `","sessionName":"课堂/\u0000\n","more":{"a":[1]}}`,
		`{"sessionId":"` + id + `"}`, `{"sessionId":"` + id + `","sessionName":""}`,
		`{"sessionId":7,"sessionName":"x"}`,
		`{"sessionId":"../../x","sessionName":"x"}`, `{"sessionId":"` + id +
			`","sessionName":"x"}{}`, `null`, `[]`, ``, "\xff", `{"a":`,
		`{"sessionId":"` + id + `","sessionName":"\ud800"}`, `{"SESSIONID":"` + id +
			`","sessionname":"x"}`,
		`{"sessionId":"` + id + `","sessionName":"` + strings.Repeat("x", maxRoom+1) + `"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parse(body)
		if err != nil {
			if len(err.Error()) > 100 {
				t.Errorf("a long error: %q", err)
			}
			return
		}
		if session.CanonicalUUID(a.SessionID) != a.SessionID || a.SessionID == "" {
			t.Errorf("session id %q", a.SessionID)
		}
		if a.Room == "" || len(a.Room) > maxRoom || !utf8.ValidString(a.Room) {
			t.Errorf("room %q", a.Room)
		}
	})
}
