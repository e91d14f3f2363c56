package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/room"
)

const bearer = "0123456789abcdef0123456789abcdef"

// token writes the file of a bearer token and returns its setting.
func (w *world) token() string {
	path := filepath.Join(w.dir, "token")
	if err := os.WriteFile(path, []byte(bearer+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return "HTTP_BEARER_TOKEN_FILE=" + path
}

// ask requests a path of the API, with the token if read is set, and decodes the answer.
func (w *world) ask(path string, read bool, into any) (status int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.app.Addr()+
		"/api/v1/"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if read {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			w.t.Fatalf("%s: %v: %s", path, err, raw)
		}
	}
	return resp.StatusCode, string(raw)
}

type eventsPage struct {
	Version  string
	Text     bool
	Lines    []map[string]any
	Next     int64
	Complete bool
}

// texts collects all lines of a recording through the pages of the API.
func (w *world) texts(egressID string) (texts []string, p eventsPage) {
	w.t.Helper()
	for next := int64(1); ; next = p.Next {
		p = eventsPage{}
		code, body := w.ask(fmt.Sprintf("recordings/%s/events?wait=5&from=%d", egressID, next),
			true, &p)
		if code != 200 {
			w.t.Fatalf("%d %s", code, body)
		}
		for _, l := range p.Lines {
			if l["kind"] == "data" {
				texts = append(texts, fmt.Sprint(l["text"]))
			}
		}
		if p.Complete || len(p.Lines) == 0 {
			return texts, p
		}
	}
}

// TestAPI follows one session through the API: while it runs, after its delivery, and after its
// local data was removed.
func TestAPI(t *testing.T) {
	w := newWorld(t)
	roster := filepath.Join(w.dir, "roster.csv")
	if err := os.WriteFile(roster, []byte("identity,name\nalice,Alice A\nfatima,Fatima F\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	w.env(w.token(), "RETENTION=0s", "ROSTER_GRACE=0s", project(0, projectA,
		"DIRECTORY="+filepath.Join(w.dir, "out"), "LIVE_TEXT=true", "ROSTER_FILE="+roster))
	w.start()
	c := w.record(projectA, 1)
	c.Handler.Event(room.Event{
		Type: room.ParticipantJoined, At: time.Now(),
		Participant: room.Participant{Identity: "alice", SID: "PA_1"},
	})
	w.send(c, "hello")

	var session overview.Session
	w.eventually("the overview shows the message", func() bool {
		var o overview.Overview
		w.ask("status", true, &o)
		if len(o.Sessions) != 1 {
			return false
		}
		session = o.Sessions[0]
		return session.Messages == 1
	})
	if session.State != overview.StateRecording || session.Absent != 1 ||
		session.Count != 1 || !session.TextAllowed || session.Project != projectA {
		t.Errorf("%+v", session)
	}
	if len(session.People) != 2 || session.People[0].Name != "Fatima F" ||
		session.People[0].State != overview.PersonAbsent || session.People[1].Name != "Alice A" ||
		session.People[1].Messages != 1 || session.People[1].State != overview.PersonPresent {
		t.Errorf("people: %+v", session.People)
	}
	code, body := w.ask("status", false, nil)
	if code != 200 || strings.Contains(body, "alice") || strings.Contains(body, "Fatima") ||
		!strings.Contains(body, session.Room) {
		t.Errorf("without a login: %d %s", code, body)
	}
	if !strings.Contains(body, "Recording one session, but one person is missing") {
		t.Errorf("verdict: %s", body)
	}
	id := session.EgressID
	if code, body := w.ask("recordings/"+id+"/events", false, nil); code != 401 {
		t.Errorf("lines without a login: %d %s", code, body)
	}
	w.eventually("the line is durable", func() bool {
		texts, p := w.texts(id)
		return !p.Complete && strings.Join(texts, ",") == "hello"
	})
	var open struct{ Lanes []struct{ Who string } }
	if code, body := w.ask("recordings/"+id+"/timeline", true, &open); code != 200 ||
		!strings.Contains(body, `"who":"alice"`) {
		t.Errorf("timeline: %d %s", code, body)
	}

	w.send(c, "goodbye")
	w.end(c, 1)
	var rec overview.Recording
	w.delivered(1, filepath.Join(w.dir, "out"))
	if err := w.app.Reload(); err != nil { // it is time to look for old data
		t.Fatal(err)
	}
	w.eventually("the local data is removed", func() bool {
		return w.recording(1).State == "removed"
	})
	w.ask("recordings/"+id, true, &rec)
	if rec.State != overview.StateDelivered || rec.Captured.Text == "" ||
		len(rec.Statement) == 0 || rec.Methods == "" || rec.Messages != 2 || rec.Objects < 3 ||
		rec.Bytes == 0 || rec.Bucket == "" || rec.Prefix == "" || rec.Attended != 1 {
		t.Errorf("%+v", rec)
	}
	texts, p := w.texts(id)
	if got := strings.Join(texts, ","); got != "hello,goodbye" || !p.Complete || !p.Text {
		t.Errorf("delivered lines: %s, %+v", got, p)
	}
	lines, err := w.app.OverviewService().Events(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := lines.Next(over); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a delivered line without time: %v", err)
	}
	if ev, err := lines.Next(t.Context()); err != nil || ev.N != 1 {
		t.Errorf("the delivered line after that: %d, %v", ev.N, err)
	}
	var closed struct{ Lanes []struct{ Messages int } }
	if code, body := w.ask("recordings/"+id+"/timeline", true, &closed); code != 200 ||
		len(closed.Lanes) != 1 || closed.Lanes[0].Messages != 2 {
		t.Errorf("timeline: %d %s", code, body)
	}
	if code, _ := w.ask("recordings/DE_none", true, nil); code != 404 {
		t.Errorf("an unknown recording: %d", code)
	}
}

// TestAPIWithoutLiveText: who wrote when is shown, and what is not.
func TestAPIWithoutLiveText(t *testing.T) {
	w := newWorld(t)
	w.env(w.token(), w.directory(0, projectA, "out"))
	w.start()
	c := w.record(projectA, 1)
	w.send(c, "a secret")
	id := w.recording(1).EgressID
	w.eventually("the line is durable", func() bool {
		_, body := w.ask("recordings/"+id+"/events", true, nil)
		if strings.Contains(body, "secret") {
			t.Fatalf("text is shown: %s", body)
		}
		return strings.Contains(body, `"identity":"alice"`) &&
			strings.Contains(body, `"left_out":true`) && strings.Contains(body, `"text":false`)
	})
	if strings.Contains(w.logged(), "action=text") {
		t.Error("the log says that text was shown")
	}
}

// TestAPIListsRecordings: pages of a list are in order, without repetition and complete.
func TestAPIListsRecordings(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	const n = 5
	for i := range n {
		w.class(projectA, i+1)
		w.delivered(i+1, filepath.Join(w.dir, "out"))
	}
	seen := map[string]bool{}
	last := time.Now()
	for cursor := ""; ; {
		var p overview.RecordingPage
		if code, body := w.ask("recordings?limit=2&cursor="+cursor, false, &p); code != 200 {
			t.Fatal(body)
		}
		for _, r := range p.Recordings {
			if seen[r.EgressID] || r.Since.After(last) || r.Captured.Text == "" {
				t.Errorf("%+v", r)
			}
			seen[r.EgressID], last = true, r.Since
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d recordings", len(seen))
	}
	var p overview.RecordingPage
	w.ask("recordings?q=ROOM-"+strings.ToUpper(sessionID(3)), false, &p)
	if len(p.Recordings) != 1 || p.Recordings[0].SessionID != sessionID(3) {
		t.Errorf("search: %+v", p.Recordings)
	}
	if code, _ := w.ask("recordings?cursor=x", false, nil); code != 400 {
		t.Errorf("a malformed cursor: %d", code)
	}
}
