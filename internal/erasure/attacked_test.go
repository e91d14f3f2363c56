package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/pseudonym"
)

func (w *world) put(key string, b []byte) {
	w.t.Helper()
	if err := w.bucket.Upload(w.t.Context(), key, objstore.Bytes(b, "text/plain")); err != nil {
		w.t.Fatal(err)
	}
}

// alter changes an object and, so that everything fits, the manifest.
func (w *world) alter(prefix, name, was, is string) {
	w.t.Helper()
	objects := w.objects()
	old := objects[prefix+name]
	new := bytes.Replace(old, []byte(was), []byte(is), 1)
	if bytes.Equal(old, new) {
		w.t.Fatalf("%s has no %q", name, was)
	}
	w.put(prefix+name, new)
	a, b := sha256.Sum256(old), sha256.Sum256(new)
	m := bytes.Replace(objects[prefix+"manifest.json"], []byte(hex.EncodeToString(a[:])),
		[]byte(hex.EncodeToString(b[:])), 1)
	i := bytes.Index(m, []byte(`"key": "`+name))
	m = append(m[:i:i], bytes.Replace(m[i:], fmt.Appendf(nil, `"size": %d`, len(old)),
		fmt.Appendf(nil, `"size": %d`, len(new)), 1)...)
	w.put(prefix+"manifest.json", m)
}

// disk is what the spool has of each recording.
func (w *world) disk() map[string][]string {
	out := map[string][]string{}
	for _, rec := range w.spool.Recordings() {
		list := []string{string(rec.State()), rec.Info().KeyPrefix, rec.Info().SessionID}
		for f, err := range rec.Frames() {
			if err != nil {
				w.t.Fatal(err)
			}
			list = append(list, string(f.Payload))
		}
		out[rec.ID()] = list
	}
	return out
}

// TestForgetBelievesNoBucket: whoever can write to a bucket decides neither what is removed nor of
// which recording.
func TestForgetBelievesNoBucket(t *testing.T) {
	for name, attack := range map[string]func(w *world){
		"all of another recording": func(w *world) {
			other := newWorld(w.t, objtest.NewMemory("other", true))
			other.record("DE_2")
			other.deliver()
			for key, b := range other.objects() {
				w.put(strings.Replace(key, "DE_2", "DE_1", 1), b)
			}
		},
		"a recording.json that names another": func(w *world) {
			w.alter(prefix, "raw/recording.json", `"egress_id": "DE_1"`, `"egress_id": "DE_2"`)
		},
		"a place that is another's": func(w *world) {
			w.alter(prefix, "raw/recording.json", prefix, strings.Replace(prefix, "DE_1", "DE_2",
				1))
		},
		"a manifest that says less": func(w *world) {
			m := w.objects()[prefix+"manifest.json"]
			w.put(prefix+"manifest.json", bytes.Replace(m, []byte(`"revision": 1`),
				[]byte(`"revision": 1 `), 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objtest.NewMemory("b", true))
			removed := w.record("DE_1")
			w.deliver()
			if err := removed.RemoveData(); err != nil {
				t.Fatal(err)
			}
			w.record("DE_2") // not delivered yet: there is nothing else of it
			attack(w)
			disk, objects := w.disk(), w.objects()
			a := w.forget(erasure.Request{Recording: "DE_1"})
			if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 unchecked r0"}) ||
				len(a.Recordings[0].Problems) != 1 ||
				!strings.Contains(a.Recordings[0].Problems[0], "differs from the delivery") {
				t.Errorf("%v %+v", got, a)
			}
			if d := cmp.Diff(disk, w.disk()); d != "" {
				t.Errorf("the disk is another: %s", d)
			}
			if !maps.EqualFunc(objects, w.objects(), bytes.Equal) {
				t.Error("the bucket is another")
			}
		})
	}
}

// TestForgetFromAnAlteredPlace: without a data directory the place is all that is known. What it
// says of itself must agree, and nothing outside of it is touched, whatever it names.
func TestForgetFromAnAlteredPlace(t *testing.T) {
	const other = "Study-p/room/text-egress/all-topics/DE_2/"
	for name, tt := range map[string]struct {
		attack func(w *world)
		says   string // "": it is done
	}{
		"another egress id": {func(w *world) {
			w.alter(prefix, "raw/recording.json",
				`"egress_id": "DE_1"`, `"egress_id": "DE_2"`)
		}, "egress_id"},
		"another session": {func(w *world) {
			w.alter(prefix, "raw/recording.json",
				`"session_id": "s-`, `"session_id": "t-`)
		}, "session.id"},
		"another status": {func(w *world) {
			w.alter(prefix, "raw/sealed.json", "COMPLETE",
				"FAILED")
		}, "status"},
		"another revision": {func(w *world) {
			w.put(prefix+"manifest.json", bytes.Replace(w.objects()[prefix+"manifest.json"],
				[]byte(`"revision": 1`), []byte(`"revision": 4`), 1))
		}, "revision 4"},
		"no name of a segment": {func(w *world) {
			objects := w.objects()
			m := bytes.Replace(objects[prefix+"manifest.json"], []byte("raw/000001.seg.zst"),
				[]byte("raw/sealed.json.zst"), 1)
			w.put(prefix+"manifest.json", m)
			w.put(prefix+"raw/sealed.json.zst", objects[prefix+"raw/000001.seg.zst"])
		}, "not the name of a segment"},
		"keys twice": {func(w *world) {
			w.alter(prefix, "raw/recording.json", `"session_id"`, `"Session_ID": "x", "session_id"`)
		}, `"session_id" is written "Session_ID"`},
		"the place of another": {func(w *world) {
			w.alter(prefix, "raw/recording.json", prefix,
				other)
		}, ""},
		"the whole bucket": {func(w *world) {
			w.alter(prefix, "raw/recording.json",
				`"key_prefix": "`+prefix, `"key_prefix": "`)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objtest.NewMemory("b", true))
			w.record("DE_1")
			w.record("DE_2")
			w.deliver()
			tt.attack(w)
			before := w.objects()
			a, err := erasure.From(t.Context(), erasure.Place{
				Bucket: w.bucket, Prefix: prefix,
				Scratch: t.TempDir(),
			}, erasure.Request{Identity: bob})
			if err != nil {
				t.Fatal(err)
			}
			after := w.objects()
			if tt.says == "" {
				if !a.Complete() || a.Recordings[0].Outcome != erasure.Erased {
					t.Errorf("%+v", a)
				}
				maps.DeleteFunc(before, func(key string,
					_ []byte,
				) bool {
					return strings.HasPrefix(key, prefix)
				})
				maps.DeleteFunc(after, func(key string,
					_ []byte,
				) bool {
					return strings.HasPrefix(key, prefix)
				})
			} else if len(a.Recordings) != 1 || a.Recordings[0].Outcome != erasure.Skipped ||
				!strings.Contains(fmt.Sprint(a.Recordings[0].Problems), tt.says) {
				t.Errorf("%+v, want a problem with %q", a, tt.says)
			}
			if !maps.EqualFunc(before, after, bytes.Equal) {
				t.Error("the bucket is another")
			}
		})
	}
}

// TestForgetKeepsTheDiskFree: a recording whose indexes tell of more than there can have been is
// left alone, and the free space is kept.
func TestForgetKeepsTheDiskFree(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.record("DE_1")
	w.deliver()
	a, err := erasure.From(t.Context(), erasure.Place{
		Bucket: w.bucket, Prefix: prefix,
		Scratch: t.TempDir(), DiskMinFree: 1 << 60,
	}, erasure.Request{Identity: bob})
	if err != nil {
		t.Fatal(err)
	}
	if a.Recordings[0].Outcome != erasure.Skipped ||
		!strings.Contains(fmt.Sprint(a.Recordings[0].Problems), diskguard.ErrLow.Error()) {
		t.Errorf("%+v", a)
	}
	if _, m := w.lines(prefix); m.Forgotten != nil || m.Status != textegress.StatusComplete {
		t.Errorf("%+v", m)
	}
}

// TestForgetOfADamagedDisk: what was damaged on the disk after the delivery is taken from the
// bucket, where it is whole, for it is deleted there afterwards.
func TestForgetOfADamagedDisk(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"cut":    func(path string) error { return os.Truncate(path, 700) },
		"longer": func(path string) error { return os.Truncate(path, 1<<20) },
		"gone":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objtest.NewMemory("b", true))
			rec := w.record("DE_1")
			w.deliver()
			before, _ := w.lines(prefix)
			if err := damage(filepath.Join(rec.Dir(), "000002.seg")); err != nil {
				t.Fatal(err)
			}
			a := w.forget(erasure.Request{Recording: "DE_1"})
			if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 forgotten r2"}) {
				t.Fatalf("%v %+v", got, a)
			}
			after, m := w.lines(prefix + "r2/")
			w.same(before, after)
			if c := m.Completeness; c.FramesMissing != 0 || c.CorruptRanges != 0 {
				t.Errorf("%d frames in %d ranges are missing", c.FramesMissing, c.CorruptRanges)
			}
		})
	}
}

// TestForgetOfADamagedDiskUnderPseudonyms: where the bucket has no segments, what is left on the
// disk is the best there is.
func TestForgetOfADamagedDiskUnderPseudonyms(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.names = pseudonym.Open(w.dir)
	if _, err := w.names.Key("p"); err != nil {
		t.Fatal(err)
	}
	w.spool.Close()
	w.open()
	w.record("DE_1")
	w.deliver()
	if err := os.Truncate(filepath.Join(w.spool.Recordings()[0].Dir(), "000002.seg"),
		700); err != nil {
		t.Fatal(err)
	}
	a := w.forget(erasure.Request{Recording: "DE_1"})
	if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 forgotten r2"}) {
		t.Errorf("%v %+v", got, a)
	}
}
