package verify_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
)

// delivered writes the objects of a recording into a directory and returns that.
func delivered(t *testing.T, o render.Options) string {
	t.Helper()
	sp, err := spool.OpenReadOnly("../render/testdata/spool")
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	dir := t.TempDir()
	sink, err := render.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	rec := sp.Recordings()[0]
	if _, err := render.Build(t.Context(), render.FromSpool(rec), o, sink); err != nil {
		t.Fatal(err)
	}
	return dir
}

// broken is a file system on which some files cannot be read.
type broken struct {
	fs.FS

	errs map[string]error
}

func (b broken) Open(name string) (fs.File, error) {
	if err := b.errs[name]; err != nil {
		return nil, err
	}
	return b.FS.Open(name)
}

func (b broken) Stat(name string) (fs.FileInfo, error) {
	if err := b.errs[name]; err != nil {
		return nil, err
	}
	return fs.Stat(b.FS, name)
}

func TestRecording(t *testing.T) {
	const raw = textegress.RawDir + "recording.json"
	eio := &fs.PathError{Op: "open", Path: raw, Err: syscall.EIO}
	for name, tt := range map[string]struct {
		o      render.Options
		change func(t *testing.T, dir string)
		errs   map[string]error
		want   verify.Result
		says   string // the only problem, or why it is not derived
		unread int
	}{
		"verified": {want: verify.Verified},
		"fewer views than this version has": {
			o: render.Options{Views: render.Views{"events": 1}}, want: verify.Verified,
		},
		"a view of a later version": {o: render.Options{Views: render.FirstViews()}, change: func(t *testing.T, dir string) {
			b, err := os.ReadFile(dir + "/" + textegress.ManifestName)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/"+textegress.ManifestName, strings.Replace(string(b), `"revision"`,
				`"views": {"events": 1, "tables": 2}, "revision"`, 1))
		}, want: verify.NotDerived, says: `version 2 of the view "tables"`},
		"altered": {change: func(t *testing.T, dir string) {
			write(t, dir+"/"+textegress.EventsName, "{}\n")
		}, want: verify.Failed, says: "events.jsonl: has "},
		"missing": {change: func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/" + textegress.EventsName); err != nil {
				t.Fatal(err)
			}
		}, want: verify.Failed, says: " events.jsonl: no such file"},
		"no manifest": {change: func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/" + textegress.ManifestName); err != nil {
				t.Fatal(err)
			}
		}, want: verify.Failed, says: "manifest.json is missing"},
		"a directory": {change: func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(dir+"/"+textegress.EventsName),
				os.Mkdir(dir+"/"+textegress.EventsName, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, want: verify.Failed, says: "events.jsonl"},
		"unread": {
			errs: map[string]error{raw: eio}, want: verify.Failed, says: raw, unread: 1,
		},
		"no raw segments": {
			o: render.Options{WithoutRaw: true}, want: verify.NotDerived,
			says: "The recording has no raw segments.",
		},
		"raw segments that are not listed": {
			o: render.Options{WithoutRaw: true}, change: func(t *testing.T, dir string) {
				if err := os.MkdirAll(dir+"/raw", 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, dir+"/"+raw, "{}")
			}, want: verify.Failed, says: raw + " exists",
		},
		"raw segments that are not listed, unread": {
			o: render.Options{WithoutRaw: true}, errs: map[string]error{raw: eio},
			want: verify.Failed, says: raw + ": input/output error", unread: 1,
		},
	} {
		dir := delivered(t, tt.o)
		if tt.change != nil {
			tt.change(t, dir)
		}
		got, err := verify.Recording(t.Context(), broken{os.DirFS(dir), tt.errs}, verify.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := strings.Join(append(got.Problems, got.NotDerived), "\n")
		if got.Result != tt.want || got.OK != (tt.want != verify.Failed) ||
			got.Derived != (tt.want == verify.Verified) || !strings.Contains(text, tt.says) ||
			got.Unread != tt.unread || tt.want == verify.Failed && len(got.Problems) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
		if tt.says != "" && strings.Count(text, textegress.EventsName) > 1 ||
			strings.Count(text, raw) > 1 {
			t.Errorf("%s: it names the file twice: %s", name, text)
		}
	}
	if _, err := verify.Recording(t.Context(), broken{
		os.DirFS(delivered(t, render.Options{})),
		map[string]error{textegress.ManifestName: eio},
	}, verify.Options{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a place that does not answer: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
