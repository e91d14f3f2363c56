package standalone

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
)

// followed is what one `textegress tail --follow` printed.
type followed struct {
	name, out, stderr string
	code              int
	err               error
}

// A class is followed from its begin, from its middle and after a kill -9 of the recorder, while
// segments are closed and the recorder rejoins. Everybody sees the lines of the delivered
// events.jsonl, byte for byte.
func TestFollow(t *testing.T) {
	w := record(t, servers, pollFast, "SEGMENT_SIZE=64KiB")
	ctx := testContext(t)
	results := make(chan followed)
	follow := func(name string, args ...string) {
		args = append([]string{"tail", "--follow", "--json"}, args...)
		go func() {
			f := followed{name: name}
			f.out, f.stderr, f.code, f.err = w.r.CLI(ctx, args...)
			results <- f
		}()
	}
	room := w.open("followed", "")
	w.recording(room)
	follow("begin", "-n", "all", room.Name)
	alice := w.join(w.LiveKit, room, "learner-1")
	w.say(alice, 500)
	w.awaitPackets(room.Sid, 500)
	follow("middle", "-n", "all", room.Sid)
	follow("new", "-n", "0", "--topic", "log", room.Sid)
	w.say(alice, 500)
	w.awaitPackets(room.Sid, 1000)
	check(t, w.r.Kill())
	check(t, w.r.Start(ctx))
	w.rejoined(room.Sid, 1)
	follow("after the kill", "-n", "all", room.Sid) // it may start after the end
	w.say(alice, 100)
	w.awaitPackets(room.Sid, 1100)
	w.delete(room)
	d := w.delivered(room.Sid, 1)[0]
	want := string(must(os.ReadFile(filepath.Join(d.Dir, textegress.EventsName)))(t))
	if n := strings.Count(want, `"kind":"data"`); n != 1100 {
		t.Errorf("%d messages are delivered", n)
	}
	for range 4 {
		f := <-results
		check(t, f.err)
		whole := f.out == want
		if f.name == "new" { // begins anywhere, and has only the messages of a topic
			whole = endsWith(t, want, f.out)
		}
		if f.code != 0 || !whole {
			t.Errorf("%s: exit code %d, %d of %d bytes\n%s", f.name, f.code, len(f.out), len(want),
				f.stderr)
		}
	}
	w.faithful()
}

// endsWith reports whether the lines of got are the last lines of events with their topic.
func endsWith(t *testing.T, events, got string) bool {
	t.Helper()
	var all []string
	for line := range strings.Lines(events) {
		var m textegress.Message
		check(t, json.Unmarshal([]byte(line), &m))
		if m.Topic == "log" {
			all = append(all, line)
		}
	}
	n := strings.Count(got, "\n")
	return n > 0 && n <= len(all) && strings.Join(all[len(all)-n:], "") == got
}
