package standalone

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
)

// events follows a recording through the API as an EventSource does: after a broken connection it
// begins again after the last line that it received. It returns the lines up to the end of the
// recording.
func (w *world) events(ctx context.Context, egressID, token string) (lines string, opened int) {
	last := ""
	for ctx.Err() == nil {
		req := must(http.NewRequestWithContext(ctx, http.MethodGet, w.r.URL+
			"/api/v1/recordings/"+egressID+"/events", nil))(w.t)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			if err == nil {
				resp.Body.Close()
			}
			select { // the recorder starts
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		opened++
		id, event, data := "", "", ""
		body := bufio.NewScanner(resp.Body)
		body.Buffer(nil, 1<<20)
		for body.Scan() {
			name, value, _ := strings.Cut(body.Text(), ": ")
			switch name {
			case "id":
				id = value
			case "event":
				event = value
			case "data":
				data = value
			case "":
				if event == "end" {
					resp.Body.Close()
					return lines, opened
				}
				if event == "" && data != "" {
					lines, last = lines+data+"\n", id
				}
				id, event, data = "", "", ""
			}
		}
		resp.Body.Close()
	}
	return lines, opened
}

// TestEventsOfTheAPI: a client of the API that reconnects by itself sees the lines of the delivered
// events.jsonl, byte for byte, while the recorder is killed and rejoins the room.
func TestEventsOfTheAPI(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	check(t, os.WriteFile(file, []byte(token), 0o600))
	w := record(t, servers, pollFast, "HTTP_BEARER_TOKEN_FILE="+file, "PROJECTS__0__LIVE_TEXT=true")
	ctx := testContext(t)
	room := w.open("watched", "")
	w.recording(room)
	st := must(w.r.Status(ctx))(t)
	id := st.Recordings[len(st.Recordings)-1].EgressID
	type result struct {
		lines  string
		opened int
	}
	got := make(chan result)
	go func() {
		lines, opened := w.events(ctx, id, token)
		got <- result{lines, opened}
	}()
	alice := w.join(w.LiveKit, room, "learner-1")
	w.say(alice, 200)
	w.awaitPackets(room.Sid, 200)
	check(t, w.r.Kill())
	check(t, w.r.Start(ctx))
	w.rejoined(room.Sid, 1)
	w.say(alice, 100)
	w.awaitPackets(room.Sid, 300)
	w.delete(room)
	d := w.delivered(room.Sid, 1)[0]
	want := string(must(os.ReadFile(filepath.Join(d.Dir, textegress.EventsName)))(t))
	r := <-got
	if r.lines != want || strings.Count(want, `"kind":"data"`) != 300 || r.opened < 2 {
		t.Errorf("%d of %d bytes in %d streams", len(r.lines), len(want), r.opened)
	}
	w.faithful()
}
