package render_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

var (
	update  = flag.Bool("update", false, "write testdata/golden.txt and testdata/report anew")
	fixture = flag.String("fixture", "", "write this recording of testdata/spool anew (segments "+
		"have random parts)")
)

const (
	full    = "DE_golden000001"
	aborted = "DE_golden000002"
	kinds   = "DE_golden000003" // everything that LiveKit can carry
)

// TestGolden holds the bytes of everything that is delivered. The recordings are files, so it also
// holds that this program reads segments of the first format version. If it fails after a change on
// purpose, Version must change too.
func TestGolden(t *testing.T) {
	if *fixture != "" {
		writeFixture(t, *fixture)
	}
	sp, err := spool.OpenReadOnly(filepath.Join("testdata", "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	keys, err := render.NewKeys([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, e := range []struct {
		id     string
		o      render.Options
		report string
	}{
		{full, render.Options{}, "full"},
		{aborted, render.Options{}, "aborted"},
		{kinds, render.Options{}, "kinds"},
		{kinds, render.Options{Keys: keys, Revision: 2}, "kinds-decrypted"},
	} {
		rec, ok := sp.Recording(e.id)
		if !ok {
			t.Fatalf("no recording %s in testdata/spool", e.id)
		}
		s := newMemSink()
		m, err := render.Build(t.Context(), render.FromSpool(rec), e.o, s)
		if err != nil {
			t.Fatal(err)
		}
		if last := s.keys[len(s.keys)-1]; last != textegress.ManifestName {
			t.Errorf("the last object is %q", last)
		}
		types := map[string]string{textegress.ManifestName: "application/json"}
		var keys []string
		for _, o := range m.Objects {
			types[o.Key] = o.ContentType
			keys = append(keys, o.Key)
		}
		for _, key := range append(keys, textegress.ManifestName) {
			data := s.objects[key]
			fmt.Fprintf(&got, "==== %s %q, %s, %d bytes, %x\n", e.id, key, types[key], len(data),
				sha256.Sum256(data))
			switch {
			case key == textegress.ReportName: // as files, because people can look at them
				golden(t, filepath.Join("report", e.report+".html"), data)
			case !strings.HasSuffix(key, ".zst"):
				got.Write(data)
			}
		}
	}
	golden(t, "golden.txt", got.Bytes())
}

// golden compares data with a file of testdata.
func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(data)); diff != "" {
		t.Errorf("the bytes of %s changed (-want +got):\n%s", name, diff)
	}
}

// writeFixture makes one recording and puts it among the others.
func writeFixture(t *testing.T, id string) {
	dir := tempSpool(t)
	switch id {
	case full:
		writeFull(newRecording(t, dir, spool.Info{EgressID: full},
			spool.Options{SegmentSize: 2048}))
	case aborted:
		newRecording(t, dir, spool.Info{EgressID: aborted},
			spool.Options{}).seal(textegress.StatusAborted, "session_ended")
	case kinds:
		writeKinds(newRecording(t, dir, spool.Info{EgressID: kinds}, spool.Options{}))
	default:
		t.Fatalf("no recording %s", id)
	}
	to := filepath.Join("testdata", "spool", "recordings", id)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, "recordings", id))); err != nil {
		t.Fatal(err)
	}
}

func writeFull(r *recording) {
	r.joined(1, "RM_first")
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: "alice",
		ParticipantSID: "PA_a1", Name: "Alice A.",
	})
	r.say("alice", "PA_a1", "chat", "hello, world")
	r.say("alice", "PA_a1", "log", `{"user":"alice","action":"click","payload":"a|b"}`)
	r.say("bob/../..", "PA_b1", "chat", "two\nlines\r\nand a | pipe, \"quotes\", 'more', <html> "+
		"& 👩🏽‍🎓")
	r.say("学生 一", "PA_c1", "", "你好\x00NUL")
	r.say("alice", "PA_a1", "binary", "\xff\xfe\x00 broken \xe4\xb8 utf-8 \xf0\x9f\x98")
	r.say("", "PA_hidden", "chat", "from a hidden sender")
	r.say("", "", "chat", "from the server's API")
	r.say("alice", "PA_a1", "", "")
	r.packet(&livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_a1",
		Value: &livekit.DataPacket_ChatMessage{
			ChatMessage: &livekit.ChatMessage{
				Id: "m1", Timestamp: 1749673840000,
				Message: "a chat message",
			},
		},
	})
	r.packet(&livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_a1",
		Value: &livekit.DataPacket_StreamHeader{
			StreamHeader: &livekit.DataStream_Header{StreamId: "s1", Topic: "lk.chat"},
		},
	})
	r.packet(&livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_a1",
		Value: &livekit.DataPacket_EncryptedPacket{
			EncryptedPacket: &livekit.EncryptedPacket{EncryptedValue: []byte{1, 2, 3}, KeyIndex: 1},
		},
	})
	r.raw([]byte{0xff, 0xff, 0xff})
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantLeft, Identity: "alice",
		ParticipantSID: "PA_a1",
	})
	r.event(1, segment.Event{
		Kind: textegress.KindOutageStarted, Cause: "connection_lost",
		SinceUnixNS: r.ns - 5e7,
	})
	r.joined(2, "RM_second")
	r.event(2, segment.Event{Kind: textegress.KindOutageEnded})
	r.say("alice", "PA_a2", "chat", "back again")
	r.seal(textegress.StatusComplete, "room_deleted")
}
