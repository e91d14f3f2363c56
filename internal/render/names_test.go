package render_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/fsname/fsnametest"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// TestNoTwoKeysDifferOnlyInCaseOrForm: of names that some file systems take for one, the second and
// later ones get a hash; the first one keeps its key, as all others do.
func TestNoTwoKeysDifferOnlyInCaseOrForm(t *testing.T) {
	const at = "-all-topics-2025-06-11T20:30:40UTC.txt"
	names := []string{
		"Alice", "alice", "ALICE", "Zoé", "Zoe\u0301", "STRASSE", "straße",
		"a\u200bb", "ab", "bob", strings.Repeat("É", 99), strings.Repeat("é", 99),
	}
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	for i, name := range names {
		r.ns = start
		sid := "PA_" + string(rune('a'+i))
		r.say(name, sid, "", "text of "+name)
		r.stream(name, sid, byteHeader("ST_1", "Photo.PNG", "image/png", 4), "file")
		r.stream(name, sid, byteHeader("ST_1", "photo.png", "image/png", 4), "file")
	}
	m, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	seen := map[string]string{}
	views, files := 0, 0
	for _, o := range m.Objects {
		same := norm.NFD.String(
			strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(o.Key, "ß", "SS"), "\u200b", "")))
		if other, ok := seen[same]; ok {
			t.Errorf("%q and %q are one on some disks", other, o.Key)
		}
		seen[same] = o.Key
		if strings.HasSuffix(o.Key, ".txt") {
			views++
		} else if strings.HasPrefix(o.Key, textegress.FilesDir) {
			files++
		}
		if len(o.Key[strings.LastIndexByte(o.Key, '/')+1:]) > 255 {
			t.Errorf("%q has more than 255 bytes", o.Key)
		}
	}
	if views != len(names) || files != 2*len(names) {
		t.Errorf("%d text views and %d files, want %d and %d", views, files, len(names),
			2*len(names))
	}
	for _, name := range []string{"Alice", "Zoé", "STRASSE", "a\u200bb", "bob"} {
		for _, key := range []string{name + at, "files/" + name + "/ST_1-Photo.PNG"} {
			if _, ok := s.objects[key]; !ok {
				t.Errorf("%q has another key than it had", key)
			}
		}
	}
	for _, name := range []string{"alice", "ALICE", "Zoe\u0301", "straße", "ab"} {
		begin := name + strings.TrimSuffix(at, ".txt") + "~"
		if !slices.ContainsFunc(s.keys, func(k string) bool {
			return strings.HasPrefix(k, begin) &&
				len(k) == len(begin)+12+len(".txt")
		}) {
			t.Errorf("no text view of %q with a hash in %q", name, s.keys)
		}
	}
}

// TestDirectoryThatCannotHoldEveryName exports to what NTFS and a share of Windows can hold; the
// reader finds everything by the keys of the manifest.
func TestDirectoryThatCannotHoldEveryName(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	for i, name := range []string{"Alice", "alice", "a: b?", "NUL", "who. ", "e\u0301", "é"} {
		r.ns = start
		sid := "PA_" + string(rune('a'+i))
		r.say(name, sid, "", "text of "+name)
		r.stream(name, sid, byteHeader("ST_1", "con.", "image/png", 4), "file")
	}
	rec := r.seal(textegress.StatusComplete, "")
	for name, l := range map[string]fsnametest.Limited{
		"usual": {}, "NTFS": {Windows: true}, "without case": {Folded: true},
		"a share of Windows": {Windows: true, Folded: true},
	} {
		root, err := fsnametest.Open(t.TempDir(), l)
		if err != nil {
			t.Fatal(err)
		}
		d := render.DirectoryOn(root)
		want, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{}, d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := textegress.Open(root.FS())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := got.Verify(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(got.Manifest().Objects); n != len(want.Objects) || n < 15 {
			t.Errorf("%s: %d objects", name, n)
		}
		f, err := textegress.OpenObject(root.FS(), "a: b?-all-topics-2025-06-11T20:30:40UTC.txt")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f.Close()
		d.Close()
	}
}
