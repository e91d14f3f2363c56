package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	lksdk "github.com/livekit/server-sdk-go/v2"
)

// Under pseudonyms nothing in the bucket names a participant, in clear, compressed, in base64 or
// escaped in a key; what they wrote is there, the recorder's disk has everything, and the command
// line tells who is who.
func TestPseudonymsInTheBucket(t *testing.T) {
	ctx := testContext(t)
	p := servers.SyncFlow.Projects[0]
	r := record(t, "PROJECTS__0__PSEUDONYMS=true")
	s := begin(t, p, "pseudonyms")
	inRoom(t, r, s)
	const marker = "NAMELESS/%"
	alice, bob := join(t, p, s, marker+"alice"), join(t, p, s, marker+"bob")
	alice.Room().LocalParticipant.SetName(marker + "name")
	alice.Room().LocalParticipant.SetMetadata(marker + "metadata")
	alice.Room().LocalParticipant.SetAttributes(map[string]string{"a": marker + "attribute"})
	file := filepath.Join(t.TempDir(), "NAMELESS-file.bin")
	check(t, os.WriteFile(file, []byte("\xff\x00 WRITTEN file"), 0o600))
	for _, l := range []interface{ Room() *lksdk.Room }{alice, bob} {
		l.Room().LocalParticipant.SendText("WRITTEN stream", lksdk.StreamTextOptions{
			Topic:      "open",
			Attributes: map[string]string{"a": marker},
		})
		must(l.Room().LocalParticipant.SendFile(file, lksdk.StreamBytesOptions{Topic: "files"}))(t)
	}
	check(t, alice.Send(ctx, "open", []byte("WRITTEN reliable"), true))
	check(t, bob.Send(ctx, "open", []byte("WRITTEN reliable"), true))
	leave(t, alice, bob)
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	bucket := servers.S3.BucketDir(p.Bucket)
	id := d.Manifest().EgressID
	objects := 0
	check(t, filepath.WalkDir(bucket, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if strings.Contains(path, id) {
			objects++
		}
		text := path + string(unpack(t, must(os.ReadFile(path))(t)))
		for _, hidden := range []string{
			"NAMELESS", url.PathEscape(marker),
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("NAMELESS/")), "="),
		} {
			if strings.Contains(text, hidden) {
				t.Errorf("%s holds %q", path, hidden)
			}
		}
		if strings.Contains(path, id+"/raw/") {
			t.Errorf("%s was delivered", path)
		}
		return nil
	}))
	// two text views, two files, events.jsonl, metadata.json, report.html, manifest.json
	if objects < 8 {
		t.Errorf("%d objects in %s", objects, id)
	}
	if got := traces(t, "WRITTEN", bucket); len(got) < 5 {
		t.Errorf("what they wrote is in %q", got)
	}
	// segments, the list
	if got := traces(t, "NAMELESS", filepath.Join(r.Dir, "textegress-data")); len(got) < 2 {
		t.Errorf("on the disk they are in %q", got)
	}
	if got := traces(t, "NAMELESS", r.LogPath()); len(got) > 0 {
		t.Error("the log names them")
	}
	if m := d.Manifest(); !m.Pseudonyms || m.Counts.Participants < 2 {
		t.Errorf("the manifest: %v, %d participants", m.Pseudonyms, m.Counts.Participants)
	}
	stdout, stderr, code, err := r.CLI(ctx, "pseudonyms", "--project", p.ID, "--json")
	check(t, err)
	var list struct {
		Pseudonyms []struct{ Pseudonym, Identity string }
	}
	if code != 0 || json.Unmarshal([]byte(stdout), &list) != nil {
		t.Fatalf("pseudonyms: exit code %d\n%s%s", code, stdout, stderr)
	}
	who := map[string]string{}
	for _, e := range list.Pseudonyms {
		who[e.Pseudonym] = e.Identity
	}
	said := map[string]int{}
	for _, m := range messages(t, d) {
		if m.Text != nil && strings.HasPrefix(*m.Text, "WRITTEN") {
			said[who[m.Identity]]++
		}
	}
	if said[marker+"alice"] != 2 || said[marker+"bob"] != 2 || len(said) != 2 {
		t.Errorf("who said what: %v", said)
	}
}
