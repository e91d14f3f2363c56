package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/segment"
)

func keepAll(*segment.Frame) error { return nil }

// TestRewrite_BoundToTheRecording: what takes the place of a recording decides neither which one
// that is, nor where it is delivered, nor which files are written.
func TestRewrite_BoundToTheRecording(t *testing.T) {
	s := openSpool(t, t.TempDir(), Options{SyncInterval: quiet})
	a, b := secretFrames(t, s, "DE_1"), secretFrames(t, s, "DE_2")
	before, _ := frames(t, b)
	sealed, _ := a.Sealed()
	sources, err := a.SealedSources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Info, []segment.Source){
		"another recording": func(i *Info, _ []segment.Source) {
			i.EgressID = "DE_2"
			i.SessionID = "x"
		},
		"another place": func(i *Info, _ []segment.Source) {
			i.KeyPrefix = "Study-p/room/text-egress/all-topics/DE_2/"
		},
		"another session": func(i *Info, _ []segment.Source) { i.SessionID = "another" },
		"a state file":    func(_ *Info, s []segment.Source) { s[0].Name = "sealed.json" },
		"a file elsewhere": func(_ *Info, s []segment.Source) {
			s[0].Name = "../DE_2/000009.seg"
		},
		"no name of segment": func(_ *Info, s []segment.Source) { s[0].Name = "1.seg" },
	} {
		info, segments := a.Info(), append([]segment.Source(nil), sources...)
		change(&info, segments)
		if _, err := s.Rewrite(info, sealed, segments, []byte("note"), keepAll); err == nil {
			t.Errorf("%s: it was replaced", name)
		}
	}
	if after, _ := frames(t, b); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the other recording is %q", after)
	}
	if got, ok := s.Recording("DE_1"); !ok || got != a {
		t.Error("the recording is another one")
	}
	if _, err := s.Rewrite(a.Info(), sealed, sources, []byte("note"), keepAll); err != nil {
		t.Error(err)
	}
}

// TestRewrite_IndexesFarApart: no more frames are made good than can have been there.
func TestRewrite_IndexesFarApart(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir, Options{SyncInterval: quiet})
	r := secretFrames(t, s, "DE_1")
	sealed, _ := r.Sealed()
	var seg bytes.Buffer
	out, err := segment.NewWriter(&seg,
		segment.DerivedHeader([]byte("x"), 1, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{1, 1 << 40} {
		if err := out.Append(segment.Frame{
			Type: segment.FramePacket, Index: index,
			Payload: []byte("x"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	source := segment.Source{Name: segment.Name(1), Open: func() (io.ReadCloser,
		error,
	) {
		return io.NopCloser(bytes.NewReader(seg.Bytes())), nil
	}}
	written := 0
	_, err = s.Rewrite(r.Info(), sealed, []segment.Source{source}, []byte("note"),
		func(*segment.Frame) error { written++; return nil })
	if err == nil || !strings.Contains(err.Error(), "missing frames") || written > 2 {
		t.Errorf("%d frames, %v", written, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "recordings",
		"*"+replacementSuffix)); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
}

// TestRewrite_KeepsSpaceFree: removing somebody does not take the space of recordings that go on.
func TestRewrite_KeepsSpaceFree(t *testing.T) {
	fs, o := memory()
	s := openSpool(t, "data", o)
	secretFrames(t, s, "DE_1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fs.SetCapacity(2 << 20)
	o.DiskMinFree = 16 << 20
	s = openSpool(t, "data", o)
	r, _ := s.Recording("DE_1")
	if _, err := replaceIt(s, r); !errors.Is(err, diskguard.ErrLow) {
		t.Error(err)
	}
}

// TestOpen_EditedRecording: a recording.json that somebody edited leads to no other recording's
// place, and one that has two meanings has none.
func TestOpen_EditedRecording(t *testing.T) {
	const prefix = "Study-p/room/text-egress/all-topics/DE_1/"
	for name, tt := range map[string]struct {
		was, is string
		want    string // of its prefix; "": it is set aside
	}{
		"nothing":              {"", "", prefix},
		"the place of another": {prefix, "Study-p/room/text-egress/all-topics/DE_2/", prefix},
		"below another": {
			prefix, "Study-p/room/text-egress/all-topics/DE_2/DE_1/",
			prefix,
		},
		"the root of the bucket": {prefix, "", prefix},
		"outside of a directory": {prefix, "../../text-egress/../DE_1/", prefix},
		"another project's folder": {
			prefix, "Other-q/room/text-egress/all-topics/DE_1/",
			"Other-q/room/text-egress/all-topics/DE_1/",
		},
		"a key twice": {
			`"session_id": "s"`, `"session_id": "s", "session_id": "t"`,
			"",
		},
		"a key in another case":     {`"session_id"`, `"Session_id"`, ""},
		"the id of another":         {`"DE_1"`, `"DE_2"`, ""},
		"an id that is a directory": {`"DE_1"`, `"../DE_1"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSpool(t, dir, Options{SyncInterval: quiet})
			r, err := s.Create(Info{
				EgressID: "DE_1", SessionID: "s", ProjectID: "p",
				ProjectName: "Study", RoomName: "room", KeyPrefix: prefix,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(r.Dir(), recordingName)
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(b, []byte(tt.was)) {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.Replace(b, []byte(tt.was), []byte(tt.is), 1),
				0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(r.Dir(), segment.Name(1)), nil,
				0o600); err != nil {
				t.Fatal(err)
			}
			s = openSpool(t, dir, Options{SyncInterval: quiet})
			got, ok := s.Recording("DE_1")
			switch {
			case tt.want == "" && (ok || len(s.Problems()) != 1):
				t.Errorf("it is a recording, problems %v", s.Problems())
			case tt.want != "" && (!ok || got.Info().KeyPrefix != tt.want):
				t.Errorf("found %v, problems %v", got, s.Problems())
			}
		})
	}
}

// TestOpen_Pipes: a pipe in the place of a file keeps nobody from working.
func TestOpen_Pipes(t *testing.T) {
	for _, name := range []string{recordingName, sealedName, segment.Name(1)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSpool(t, dir, Options{SyncInterval: quiet})
			r := secretFrames(t, s, "DE_1")
			secretFrames(t, s, "DE_2")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(r.Dir(), name)
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			s = openSpool(t, dir, Options{SyncInterval: quiet})
			if _, ok := s.Recording("DE_2"); !ok {
				t.Error("the other recording is not there")
			}
			if r, ok := s.Recording("DE_1"); ok {
				missing := int64(0)
				sources, err := r.SealedSources(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for f, err := range segment.Read(sources) {
					if err != nil {
						t.Fatal(err)
					}
					ev, err := segment.DecodeEvent(f.Payload)
					if err != nil {
						t.Fatal(err)
					}
					missing += ev.FramesMissing
				}
				if missing != 20 {
					t.Errorf("%d frames are missing, want 20", missing)
				}
			} else if len(s.Problems()) != 1 {
				t.Errorf("problems %v", s.Problems())
			}
		})
	}
}

func TestDecodeSealed(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for text, ok := range map[string]bool{
		`{"segments": []}`:   true,
		`{"segments": null}`: true,
		`{"segments": [{"name": "000001.seg", "size": 440, "frames": 10, "sha256": "` + sum +
			`"}, {"name": "000003.seg"}]}`: true,
		`{"segments": [{"name": "000003.seg"}, {"name": "000001.seg"}]}`:      false,
		`{"segments": [{"name": "000001.seg"}, {"name": "000001.seg"}]}`:      false,
		`{"segments": [{"name": "../000001.seg"}]}`:                           false,
		`{"segments": [{"name": "sealed.json"}]}`:                             false,
		`{"segments": [{"name": "000001.seg", "size": -1}]}`:                  false,
		`{"segments": [{"name": "000001.seg", "size": 44, "frames": 2}]}`:     false,
		`{"segments": [{"name": "000001.seg", "size": 9223372036854775807}]}`: false,
		`{"segments": [{"name": "000001.seg", "sha256": "abc"}]}`:             false,
		`{"status": "COMPLETE", "Status": "FAILED", "segments": []}`:          false,
		`{"status": "COMPLETE", "status": "` + string(textegress.StatusFailed) +
			`"}`: false,
	} {
		if _, err := DecodeSealed([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
