package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// talk sends a marked message in every way that has a topic of its own.
func talk(t *testing.T, l *classroom.Learner, marker string, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		check(t, l.Send(testContext(t), topic, []byte(marker+" reliable"), true))
		check(t, l.Send(testContext(t), topic, []byte(marker+" lossy"), false))
		// More than one chunk (of 15,000 bytes).
		l.Room().LocalParticipant.SendText(strings.Repeat(marker+" stream ", 2000),
			lksdk.StreamTextOptions{
				Topic: topic, Attributes: map[string]string{"attribute": marker},
			})
	}
}

// leave waits until everything is sent and passed on.
func leave(t *testing.T, ls ...*classroom.Learner) {
	t.Helper()
	for _, l := range ls {
		check(t, l.Drain(testContext(t)))
	}
	for _, l := range ls {
		check(t, l.Leave(testContext(t)))
	}
}

// traces names the files below the directories that contain the marker, in their names or their
// contents, also decompressed. versitygw's own copies of deleted versions are among them.
func traces(t *testing.T, marker string, dirs ...string) []string {
	t.Helper()
	var found []string
	for _, dir := range dirs {
		check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.Contains(path, marker) || bytes.Contains(unpack(t, b), []byte(marker)) {
				found = append(found, path)
			}
			return nil
		}))
	}
	return found
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	switch {
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z := must(zstd.NewReader(nil))(t)
		defer z.Close()
		return must(z.DecodeAll(b, nil))(t)
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(b)))(t)))(t)
	}
	return b
}

// where are the places in which a recorder leaves data: its folder (the log too) and its project's
// bucket.
func where(r *stack.Recorder, p stack.Project) []string {
	return []string{
		filepath.Join(r.Dir, "textegress-data"), r.LogPath(),
		servers.S3.BucketDir(p.Bucket),
	}
}

// Whom and what the lists exclude is nowhere: not on the disk, not in the bucket, not in the log.
func TestListsKeepTheExcludedOffTheDisk(t *testing.T) {
	p := servers.SyncFlow.Projects[0]
	r := record(t, "PROJECTS__0__IDENTITIES_DENY=bob-*",
		"PROJECTS__0__TOPICS_DENY=secret, lk.private*")
	s := begin(t, p, "lists")
	inRoom(t, r, s)
	alice, bob := join(t, p, s, "alice-kept"), join(t, p, s, "bob-EXCLUDED")
	talk(t, bob, "EXCLUDED-bob", "open", "secret")
	talk(t, alice, "EXCLUDED-topic", "secret", "lk.private.1")
	talk(t, alice, "KEPT", "open")
	leave(t, alice, bob)
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	if got := traces(t, "EXCLUDED", where(r, p)...); len(got) > 0 {
		t.Errorf("what is excluded is in %q", got)
	}
	// segment, raw, events.jsonl, text view
	if got := traces(t, "KEPT", where(r, p)...); len(got) < 4 {
		t.Errorf("what is not excluded is in %q", got)
	}
	sel := d.Manifest().Selection
	if sel == nil || len(sel.Rules) != 1 || fmt.Sprint(sel.Rules[0].IdentitiesDeny,
		sel.Rules[0].TopicsDeny) != "[bob-*] [secret lk.private*]" {
		t.Fatalf("the manifest states %+v", sel)
	}
	dropped := map[string]int64{}
	for _, d := range sel.Dropped {
		dropped[d.Reason] = d.Packets
	}
	// Of bob: two topics with two packets and one stream of at least header, two chunks and
	// trailer. The lossy ones may get lost.
	if dropped["identity"] < 10 || dropped["topic"] < 10 || len(dropped) != 2 || sel.AtLeast {
		t.Errorf("dropped: %+v", sel)
	}
}

// Who is forgotten is gone: from the disk, from the bucket, from the versions that it keeps, while
// the service runs.
func TestForgetLeavesNoTrace(t *testing.T) {
	ctx := testContext(t)
	p := servers.SyncFlow.Projects[1]
	check(t, servers.S3.KeepVersions(ctx, p.Bucket))
	r := record(t)
	s := begin(t, p, "forget")
	inRoom(t, r, s)
	alice, bob := join(t, p, s, "alice-kept"), join(t, p, s, "bob-FORGET")
	for range 3 {
		talk(t, bob, "FORGET", "open")
		talk(t, alice, "KEPT", "open")
	}
	forget := func(args ...string) string {
		t.Helper()
		stdout, stderr, code, err := r.CLI(ctx,
			append([]string{"forget", "bob-FORGET", "--project", p.ID}, args...)...)
		check(t, err)
		return fmt.Sprintf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := forget("--session", s.ID, "--yes"); !strings.Contains(got, "exit code 3") ||
		!strings.Contains(got, "is still open") {
		t.Errorf("in the session: %s", got)
	}
	leave(t, alice, bob)
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	before := messages(t, d)
	places := append(where(r, p), servers.S3.VersionsDir)
	had := traces(t, "FORGET", places...)
	kept := len(traces(t, "KEPT", places...))
	if got := forget(); !strings.Contains(got, "exit code 0") || !strings.Contains(got, "found") ||
		!strings.Contains(got, "--yes") {
		t.Errorf("without --yes: %s", got)
	}
	if got := traces(t, "FORGET", places...); len(got) != len(had) || len(had) < 4 {
		t.Errorf("without --yes it is in %q, before in %q", got, had)
	}
	if got := forget("--yes"); !strings.Contains(got, "exit code 0") ||
		!strings.Contains(got, "forgotten") {
		t.Errorf("with --yes: %s", got)
	}
	if got := traces(t, "FORGET", places...); len(got) > 0 {
		t.Errorf("still in %q", got)
	}
	if got := len(traces(t, "KEPT", places...)); got < kept {
		t.Errorf("of those who stay %d files, before %d", got, kept)
	}
	after := delivered(t, r, p, s, 1)[0] // verified by the command line
	if m := after.Manifest(); m.Revision != 2 || m.Forgotten == nil {
		t.Errorf("revision %d, forgotten %+v", m.Revision, m.Forgotten)
	}
	now := messages(t, after)
	if len(now) != len(before) {
		t.Fatalf("%d lines, before %d", len(now), len(before))
	}
	for i := range now {
		if now[i].Identity != "bob-FORGET" && before[i].Identity != "bob-FORGET" &&
			(now[i].Kind != before[i].Kind || now[i].UnixNS != before[i].UnixNS) {
			t.Errorf("line %d was %s, is %s", i+1, before[i].Kind, now[i].Kind)
		}
	}
	// Once more, without the service.
	check(t, r.Stop(ctx))
	if got := forget("--yes"); !strings.Contains(got, "exit code 0") ||
		!strings.Contains(got, "found the participant in 0") {
		t.Errorf("once more: %s", got)
	}
}
