package erasure_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// TestForgetFromLeavesNeighbours: of what lies below the place of a recording, only what is the
// recording's is deleted. A manifest above other recordings may be a copy that was unpacked there,
// or the work of somebody who wants them deleted.
func TestForgetFromLeavesNeighbours(t *testing.T) {
	for name, tt := range map[string]struct {
		base string
		// beside are objects that no manifest tells of.
		beside []string
		want   erasure.Outcome
	}{
		"a copy above others": {"", []string{
			"notes.txt",
			"Study-p/room/text-egress/all-topics/DE_9/raw/000001.seg.zst",
		}, erasure.Incomplete},
		"the folder of a project": {
			"Study-p/",
			[]string{"Study-p/room/video.mp4"},
			erasure.Incomplete,
		},
		"a copy above others and all is known": {"Study-p/", nil, erasure.Erased},
		"its own place": {
			prefix,
			[]string{prefix + "left by a killed process.txt"},
			erasure.Erased,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objtest.NewMemory("b", true))
			w.record("DE_1")
			w.deliver()
			own := w.objects()
			if tt.base != prefix {
				for key, b := range own {
					if err := w.bucket.Delete(t.Context(), key); err != nil {
						t.Fatal(err)
					}
					w.put(tt.base+strings.TrimPrefix(key, prefix), b)
				}
			}
			mine := w.objects()
			w.record("DE_2")
			w.deliver()
			for _, key := range tt.beside {
				w.put(key, []byte("x"))
			}
			before := w.objects()
			a, err := erasure.From(t.Context(), erasure.Place{
				Bucket: w.bucket, Prefix: tt.base,
				Scratch: t.TempDir(),
			},
				erasure.Request{Identity: bob, Recording: "DE_1"})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Recordings) != 1 || a.Recordings[0].Outcome != tt.want ||
				a.Complete() != (tt.want == erasure.Erased) {
				t.Errorf("%+v, want %s", a, tt.want)
			}
			after := w.objects()
			for key := range mine {
				if _, there := after[key]; there {
					t.Errorf("%s is still there", key)
				}
			}
			keep := func(m map[string][]byte) {
				maps.DeleteFunc(m, func(key string, _ []byte) bool {
					_, was := mine[key]
					return was || strings.HasPrefix(key, tt.base+"r2/") ||
						strings.HasPrefix(key, prefix) && tt.base == prefix
				})
			}
			keep(before)
			keep(after)
			if !maps.EqualFunc(before, after, bytes.Equal) {
				t.Errorf("other objects: %v", cmp.Diff(keysIn(before), keysIn(after)))
			}
			// A second time there is nothing more to do, and what is left is told again.
			again, err := erasure.From(t.Context(), erasure.Place{
				Bucket: w.bucket, Prefix: tt.base,
				Scratch: t.TempDir(),
			},
				erasure.Request{Identity: bob, Recording: "DE_1"})
			if err != nil || again.Complete() != a.Complete() {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
}

// TestForgetFromACopyInterrupted: what a manifest names is known until all of it is deleted.
func TestForgetFromACopyInterrupted(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", false))
	w.record("DE_1")
	w.deliver()
	for key, b := range w.objects() {
		if err := w.bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		w.put("copy/"+strings.TrimPrefix(key, prefix), b)
	}
	w.spool.Close()
	w.dir = t.TempDir() // that of another machine
	from := func(b objstore.Bucket) (erasure.Answer, error) {
		return erasure.From(t.Context(), erasure.Place{
			Bucket: b, Prefix: "copy/",
			Scratch: t.TempDir(),
		}, erasure.Request{Identity: bob})
	}
	for k := range 100 {
		if _, err := from(&stubborn{w.bucket, k}); err != nil && !errors.Is(err, errStubborn) {
			t.Fatal(err)
		}
	}
	if a, err := from(w.bucket); err != nil || !a.Complete() {
		t.Errorf("%+v, %v", a, err)
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
}

// TestForgetFromDeletesWhatItsManifestNames: somebody's manifest below a recording protects nothing
// of it.
func TestForgetFromDeletesWhatItsManifestNames(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.record("DE_1")
	w.deliver()
	w.put(prefix+"raw/manifest.json", []byte("{}"))
	if _, err := erasure.From(t.Context(), erasure.Place{
		Bucket: w.bucket, Prefix: prefix,
		Scratch: t.TempDir(),
	}, erasure.Request{Identity: bob}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bucket.Stat(t.Context(), prefix+"raw/000001.seg.zst"); !objstore.IsNotFound(
		err) {
		t.Errorf("the segment: %v", err)
	}
}

func keysIn(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }
