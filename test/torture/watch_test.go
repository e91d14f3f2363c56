package torture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	// As the S3 server does it: a new file takes the place of the old one.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestBucketWatcher(t *testing.T) {
	root := t.TempDir()
	w := &bucketWatcher{root: root, known: map[string]object{}}
	expected := map[string]bool{"a": true, "b/c": true}
	at := func(key string) string { return filepath.Join(root, "bucket", key) }
	write(t, at("a"), "one")
	write(t, at("b/c"), "two")
	write(t, filepath.Join(root, "other", "x"), "not in this bucket")
	write(t, at(".sgwtmp/unfinished"), "x")
	if err := w.check("bucket", expected); err != nil {
		t.Error(err)
	}
	write(t, at("a"), "one")
	if err := w.check("bucket", expected); err != nil {
		t.Errorf("the same bytes once more: %v", err)
	}
	for _, c := range []struct {
		change func()
		want   string
	}{
		{
			func() { write(t, at("a"), "One") },
			"object bucket/a of 3 bytes was replaced by 3 other bytes",
		},
		{func() { write(t, at("d"), "x") }, "object bucket/d belongs to no recording"},
		{func() { os.Remove(at("d")); os.Remove(at("b/c")) }, "object bucket/b/c was removed"},
	} {
		c.change()
		if err := w.check("bucket", expected); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestCrashWatcher(t *testing.T) {
	for i, p := range points {
		root := t.TempDir()
		dir := filepath.Join(root, "DE_1")
		steps := []func(){
			func() { os.Mkdir(dir, 0o700) },
			// of another recording
			func() { write(t, filepath.Join(root, "DE_old", "sealed.json"), "") },
		}
		file := func(name string) {
			steps = append(steps, func() {
				os.WriteFile(filepath.Join(dir, name+".tmp"), nil,
					0o600)
			},
				func() { os.Rename(filepath.Join(dir, name+".tmp"), filepath.Join(dir, name)) })
		}
		file("recording.json")
		steps = append(steps, func() { os.WriteFile(filepath.Join(dir, "000001.seg"), nil, 0o600) })
		file("sealed.json")
		steps = append(steps, func() { os.Mkdir(filepath.Join(dir, "objects"), 0o700) })
		file("export.json")
		file("uploaded.json")
		steps = append(steps, func() { os.Remove(filepath.Join(dir, "000001.seg")) })

		crashWatcher, err := watchCrashPoints(root, map[string]bool{"DE_old": true}, i, func() {})
		if err != nil {
			t.Fatal(err)
		}
		hit := -1
		for k := 0; k < len(steps) && hit < 0; k++ {
			steps[k]()
			// The steps up to this one make the points up to k (the second is nobody's), so the
			// the watcher has acted if i is among them.
			if want := max(k-1, 0); want == i && k != 1 {
				if hit, err = crashWatcher.wait(t.Context(), 10*time.Second); err != nil {
					t.Fatalf("%s: %v", p.name, err)
				}
			}
		}
		crashWatcher.close()
		if hit != i {
			t.Errorf("%s: acted at %d", p.name, hit)
		}
	}
}

func TestDiskState(t *testing.T) {
	for want, files := range map[string][]string{
		"00 an empty directory":      {},
		"01 recording.json begun":    {"recording.json.tmp"},
		"02 recording.json alone":    {"recording.json"},
		"03 open":                    {"recording.json", "000001.seg"},
		"04 open, sealed.json begun": {"recording.json", "000001.seg", "sealed.json.tmp"},
		"05 sealed":                  {"recording.json", "000001.seg", "sealed.json"},
		"06 sealed, objects being derived": {
			"recording.json", "000001.seg", "sealed.json",
			"objects",
		},
		"07 sealed, export.json begun": {
			"recording.json", "000001.seg", "sealed.json",
			"objects", "export.json.tmp",
		},
		"08 exported: uploading": {
			"recording.json", "000001.seg", "sealed.json",
			"objects", "export.json",
		},
		"09 exported, uploaded.json begun": {
			"recording.json", "000001.seg", "sealed.json",
			"export.json", "uploaded.json.tmp",
		},
		"10 uploaded": {
			"recording.json", "000001.seg", "sealed.json",
			"export.json", "uploaded.json",
		},
		"11 uploaded, partly removed": {
			"recording.json", "sealed.json", "objects",
			"export.json", "uploaded.json",
		},
		"12 removed": {
			"recording.json", "sealed.json", "export.json",
			"uploaded.json",
		},
	} {
		dir := t.TempDir()
		for _, f := range files {
			content := ""
			if f == "sealed.json" {
				content = `{"segments":[{}]}`
			}
			write(t, filepath.Join(dir, f), content)
		}
		if got := diskState(dir); got != want {
			t.Errorf("%v: %s, want %s", files, got, want)
		}
	}
}
