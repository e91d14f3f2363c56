package standalone

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// A learner withdraws in mid-class: what they send after the command has answered is not recorded,
// neither by the process that was asked nor, after a kill -9, by the next one, nor in the next run
// of the room. The others are recorded completely. After forget, nothing names the learner.
func TestWithdrawal(t *testing.T) {
	w := record(t, servers, pollFast)
	ctx := testContext(t)
	cli := func(args ...string) {
		t.Helper()
		stdout, stderr, code, err := w.r.CLI(ctx, args...)
		check(t, err)
		if code != 0 {
			t.Fatalf("%q: exit code %d\n%s%s", args[0], code, stdout, stderr)
		}
	}
	room := w.open("withdrawal", "")
	w.recording(room)
	alice := w.join(w.LiveKit, room, "learner-1")
	bob := w.join(w.LiveKit, room, "learner-2")
	w.say(alice, 10)
	w.say(bob, 10)
	w.awaitPackets(room.Sid, 20)
	check(t, w.r.Until(ctx, "LiveKit has announced both", func(st stack.RecorderStatus) bool {
		return st.Recordings[0].Participants == 2
	}))

	cli("exclude", "learner-2")
	w.say(bob, 10)
	w.say(alice, 10)
	w.awaitPackets(room.Sid, 30)
	check(t, w.r.Kill())
	check(t, w.r.Start(ctx))
	w.rejoined(room.Sid, 1)
	w.say(bob, 10)
	w.say(alice, 10)
	w.awaitPackets(room.Sid, 40)
	check(t, bob.Leave(ctx))
	check(t, alice.Leave(ctx))
	d := w.delivered(room.Sid, 1)[0]
	said, left := 0, ""
	for m, err := range d.Messages() {
		check(t, err)
		switch {
		case m.Identity != "learner-2" && (m.Event == nil || m.Event.Identity != "learner-2"):
		case m.Kind == textegress.KindData:
			said++
		case m.Kind == textegress.KindParticipantLeft:
			left += m.Event.Cause
		}
	}
	if s := d.Manifest().Selection; said != 10 || left != "excluded" || s == nil ||
		s.Rules[len(s.Rules)-1].Excluded != 1 {
		t.Errorf("recorded %d messages, left %q, selection %+v", said, left, s)
	}
	delete(w.spoken[room.Sid], "learner-2")

	// The next run, after the erasure of the first.
	cli("forget", "learner-2", "--yes")
	again := w.open("withdrawal", "")
	w.recording(again)
	alice, bob = w.join(w.LiveKit, again, "learner-1"), w.join(w.LiveKit, again, "learner-2")
	w.say(bob, 10)
	w.say(alice, 10)
	w.awaitPackets(again.Sid, 10)
	check(t, bob.Leave(ctx))
	check(t, alice.Leave(ctx))
	w.delivered(again.Sid, 1)
	delete(w.spoken[again.Sid], "learner-2")
	w.faithful()
	for _, dir := range []string{
		filepath.Join(w.r.Dir, "recordings"), filepath.Join(w.r.DataDir(), "recordings"),
	} {
		check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("learner-2")) {
				t.Errorf("%s names the learner (%v)", path, err)
			}
			return nil
		}))
	}
}
