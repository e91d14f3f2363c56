package render_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// manySegments is a recording in about thirty segments.
func manySegments(t testing.TB) *spool.Recording {
	t.Helper()
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{SegmentSize: 20_000})
	for i := range 2000 {
		r.say(fmt.Sprintf("p%d", i%100), fmt.Sprintf("PA_%d", i%100), "log",
			fmt.Sprint(i, strings.Repeat(" words", i%60)))
	}
	rec := r.seal(textegress.StatusComplete, "")
	if segments, err := rec.Segments(); err != nil || len(segments) < 20 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	return rec
}

// However many work at it: the same objects with the same bytes, and the same manifest.
func TestBuild_WorkersChangeNothing(t *testing.T) {
	rec := manySegments(t)
	with := func(workers int) map[string]string {
		dir := t.TempDir()
		sink, err := render.NewDirectory(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Close()
		if _, err := render.Build(t.Context(), render.FromSpool(rec),
			render.Options{Workers: workers}, sink); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, dir)] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	want := with(1)
	for _, workers := range []int{0, 2, 3, 100} {
		if diff := cmp.Diff(want, with(workers)); diff != "" {
			t.Errorf("%d workers: %s", workers, diff)
		}
	}
}

// hookedSink calls a function before each Write, and fails with what it returns.
type hookedSink struct {
	discardSink

	open atomic.Int64
	hook func(key string) error
}

func (s *hookedSink) Append(key string) (io.WriteCloser, error) {
	s.open.Add(1)
	return &hookedWriter{s: s, key: key}, nil
}

type hookedWriter struct {
	s   *hookedSink
	key string
}

func (w *hookedWriter) Write(p []byte) (int, error) {
	if err := w.s.hook(w.key); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *hookedWriter) Close() error { w.s.open.Add(-1); return nil }

// Whoever fails, the others stop, and the error is that of the one who failed first.
func TestBuild_WorkersStop(t *testing.T) {
	rec := manySegments(t)
	full := errors.New("no space left on device")
	for name, fails := range map[string]func(key string) bool{
		"lines":          func(key string) bool { return key == textegress.EventsName },
		"views":          func(key string) bool { return strings.HasSuffix(key, ".txt") },
		"first segment":  func(key string) bool { return strings.HasSuffix(key, "000001.seg.zst") },
		"middle segment": func(key string) bool { return strings.HasSuffix(key, "000011.seg.zst") },
		"state":          func(key string) bool { return strings.HasSuffix(key, "sealed.json") },
	} {
		s := &hookedSink{hook: func(key string) error {
			if fails(key) {
				return full
			}
			return nil
		}}
		_, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{Workers: 3}, s)
		if !errors.Is(err, full) || !strings.HasPrefix(err.Error(), "render: ") ||
			s.open.Load() != 0 {
			t.Errorf("%s: %v, %d objects are left open", name, err, s.open.Load())
		}
	}
	why := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &hookedSink{hook: func(string) error { cancel(why); return nil }}
	if _, err := render.Build(ctx, render.FromSpool(rec), render.Options{Workers: 3},
		s); err == nil || s.open.Load() != 0 {
		t.Errorf("stopped: %v, %d objects are left open", err, s.open.Load())
	}
}

// A panic of a build with one worker reaches the caller, who keeps it from ending the service.
func TestBuild_Panic(t *testing.T) {
	rec := manySegments(t)
	for _, suffix := range []string{textegress.EventsName, "000001.seg.zst", "000011.seg.zst"} {
		s := &hookedSink{hook: func(key string) error {
			if strings.HasSuffix(key, suffix) {
				panic("test: " + suffix)
			}
			return nil
		}}
		func() {
			defer func() {
				if p := recover(); p != "test: "+suffix {
					t.Errorf("%s: recovered %v", suffix, p)
				}
			}()
			_, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{}, s)
			t.Errorf("%s: no panic, %v", suffix, err)
		}()
	}
}
