package spool

import (
	"testing"

	"github.com/syncflow/textegress/internal/durable"
)

// TestOldNames: what an earlier version left under its names is understood: which recordings were
// rewritten, and of which everything older was deleted.
func TestOldNames(t *testing.T) {
	for name, tt := range map[string]struct {
		files   map[string]string // old name: new name
		pending bool
	}{
		"rewritten":  {map[string]string{"replaced.json": "rewrite.json"}, true},
		"and purged": {map[string]string{"settled.json": "purged.json"}, false},
		"both by the old names": {
			map[string]string{
				"replaced.json": "rewrite.json", "settled.json": "purged.json",
			}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, o := memory()
			s := openSpool(t, "/data", o)
			r, err := replaceIt(s, secretFrames(t, s, "DE_1"))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.pending {
				if err := r.MarkPurged(); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for old, now := range tt.files {
				if err := fs.Rename("test", r.path(now), r.path(old)); err != nil {
					t.Fatal(err)
				}
			}
			s = openSpool(t, "/data", o)
			r, _ = s.Recording("DE_1")
			if note, ok, err := r.RewriteNote(); err != nil || !ok || string(note) != "note" {
				t.Errorf("the note is %q, %v, %v", note, ok, err)
			}
			if pending, err := r.PurgePending(); err != nil || pending != tt.pending {
				t.Errorf("purge pending: %v, %v", pending, err)
			}
			if err := r.MarkPurged(); err != nil {
				t.Fatal(err)
			}
			if pending, err := r.PurgePending(); err != nil || pending {
				t.Errorf("purge pending after MarkPurged: %v, %v", pending, err)
			}
		})
	}
}

// TestOldNames_Ballast: the ballast of an earlier version is taken over on a full disk, where
// there is no room for another one.
func TestOldNames_Ballast(t *testing.T) {
	fs, o := small()
	s := openSpool(t, "/data", o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Rename("test", "/data/ballast", "/data/reserve"); err != nil {
		t.Fatal(err)
	}
	putFile(t, fs, "/data/reserve"+durable.TempSuffix, nil)
	fillDisk(t, fs, 100)
	s = openSpool(t, "/data", o)
	if d := s.Disk(); d.Full || d.Ballast != 1<<10 || ballastSize(fs) != 1<<10 {
		t.Errorf("%+v, ballast of %d bytes", d, ballastSize(fs))
	}
	for _, name := range []string{"/data/reserve", "/data/reserve" + durable.TempSuffix} {
		if there, err := fs.Exists("test", name); err != nil || there {
			t.Errorf("%s is still there, %v", name, err)
		}
	}
}
