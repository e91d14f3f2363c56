package app_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/verify"
)

// The sample of testdata/99af64c, which the version of that commit made.
const beforeDir = "testdata/99af64c"

// before returns what is below a folder of the sample.
func before(t *testing.T, folder string) fs.FS {
	t.Helper()
	r, err := zip.OpenReader(filepath.Join(beforeDir, "sample.zip"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	fsys, err := fs.Sub(r, folder)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// onlyRecording returns the one recording below a place.
func onlyRecording(t *testing.T, fsys fs.FS) (rec *textegress.Recording, root fs.FS) {
	t.Helper()
	found, err := fs.Glob(fsys, "*/*/text-egress/*/*/manifest.json")
	if err != nil || len(found) != 1 {
		t.Fatalf("recordings: %q, %v", found, err)
	}
	root, err = fs.Sub(fsys, path.Dir(found[0]))
	if err != nil {
		t.Fatal(err)
	}
	if rec, err = textegress.Open(root); err != nil {
		t.Fatal(err)
	}
	return rec, root
}

// files returns the content of every file of a recording, segments decompressed.
func files(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err == nil && strings.HasSuffix(name, ".zst") {
			var z *zstd.Decoder
			if z, err = zstd.NewReader(bytes.NewReader(b)); err == nil {
				defer z.Close()
				b, err = io.ReadAll(z)
			}
		}
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// texts returns what was sent as text, and how many lines there are of each kind.
func texts(t *testing.T, rec *textegress.Recording) (list []string, kinds map[textegress.Kind]int) {
	t.Helper()
	kinds = map[textegress.Kind]int{}
	for m, err := range rec.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if kinds[m.Kind]++; m.Text != nil {
			list = append(list, *m.Text)
		}
	}
	return list, kinds
}

// startBefore starts the service on the data directory of the version before. change may alter it.
func startBefore(t *testing.T, change func(data string)) *world {
	t.Helper()
	w := newWorld(t)
	data := filepath.Join(w.dir, "textegress-data")
	if err := os.CopyFS(data, before(t, "data")); err != nil {
		t.Fatal(err)
	}
	change(data)
	w.env(w.directory(0, projectA, "out"), w.bucket(1, projectB, "AKGOOD"), "INSTANCE=before",
		"SHUTDOWN_TIMEOUT=1s", "DISK_MIN_FREE=1MiB", "RETENTION=8760h")
	w.syncflow.set(sessionID(2), "Started")
	w.start()
	return w
}

// TestBefore_Read: a recording that an earlier version delivered is read, and is what its manifest
// says.
func TestBefore_Read(t *testing.T) {
	for folder, n := range map[string]string{"delivered": "1", "delivered-later": "3"} {
		rec, root := onlyRecording(t, before(t, folder))
		if err := rec.Verify(t.Context(), nil); err != nil {
			t.Error(err)
		}
		report, err := verify.Recording(t.Context(), root, verify.Options{})
		if err != nil || !report.OK || report.Messages == 0 {
			t.Errorf("%+v, %v", report, err)
		}
		said, kinds := texts(t, rec)
		if !strings.Contains(strings.Join(said, "\n"), "said in "+n+" by alice\n") ||
			kinds[textegress.KindTextStream] != 2 || kinds[textegress.KindChat] != 2 ||
			kinds[textegress.KindUnknown] != 1 || kinds[textegress.KindParticipantJoined] != 2 {
			t.Errorf("%q, %v", said, kinds)
		}
	}
}

// TestBefore_Continued: a recording that an earlier version was writing when it was killed is
// continued, sealed and delivered, with every byte that was there; one that it had delivered is not
// delivered again; and one whose delivery it had planned gets the bytes that it would have
// delivered.
func TestBefore_Continued(t *testing.T) {
	w := startBefore(t, func(string) {})
	w.eventually("the recorder is in the room",
		func() bool { return w.room.conn(sessionID(2)) != nil })
	c := w.room.conn(sessionID(2))
	w.send(c, "said to the version after")
	w.end(c, 2)
	for _, n := range []int{1, 2, 3} {
		w.eventually("it is delivered", func() bool { return w.recording(n).State == "uploaded" })
	}

	rec, root := onlyRecording(t, os.DirFS(filepath.Join(w.dir, "out"))) // not session 1 again
	m := rec.Manifest()
	open := path.Join("recordings", m.EgressID, "000001.seg")
	was, err := fs.ReadFile(before(t, "data"), open)
	if err != nil || m.Session.ID != sessionID(2) || m.Part != 1 {
		t.Fatalf("it was not continued: %+v, %v", m.Session, err)
	}
	if raw := files(t, root)["raw/000001.seg.zst"]; !strings.HasPrefix(raw, string(was)) {
		t.Error("the segment does not begin with the bytes that were there")
	}
	if err := rec.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	said, kinds := texts(t, rec)
	all := strings.Join(said, "\n")
	if !strings.Contains(all, "said in 2 by alice\n") ||
		!strings.Contains(all, "said in 2 by 学生\n") ||
		!strings.HasSuffix(all, "said to the version after") ||
		kinds[textegress.KindTextStream] != 2 || kinds[textegress.KindOutageStarted] != 1 {
		t.Errorf("%q, %v", said, kinds)
	}
	if len(m.Completeness.Outages) != 1 || m.Completeness.FramesMissing != 0 {
		t.Errorf("the statement: %+v", m.Completeness)
	}

	_, planned := onlyRecording(t, os.DirFS(filepath.Join(w.s3.dump(t), "bucket")))
	_, want := onlyRecording(t, before(t, "delivered-later"))
	if !reflect.DeepEqual(files(t, planned), files(t, want)) {
		t.Error("a delivery that was planned is not what was planned")
	}
}

// TestBefore_Sealed: what is delivered of a recording that an earlier version sealed is what that
// version delivered of it, but for what later versions say of streams, and for the report: the
// segments byte for byte, the same keys, the same statement.
func TestBefore_Sealed(t *testing.T) {
	late, wantRoot := onlyRecording(t, before(t, "delivered-later"))
	w := startBefore(t, func(data string) {
		dir := filepath.Join(data, "recordings", late.Manifest().EgressID)
		for _, name := range []string{"export.json", "objects"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	w.eventually("it is delivered", func() bool { return w.recording(3).State == "uploaded" })
	rec, root := onlyRecording(t, os.DirFS(filepath.Join(w.s3.dump(t), "bucket")))
	got, want := files(t, root), files(t, wantRoot)
	for name, b := range want {
		switch {
		case name == textegress.ManifestName:
		case got[name] == b:
		default:
			t.Errorf("%s: %q, was %q", name, got[name], b)
		}
		delete(got, name)
	}
	delete(got, textegress.ManifestName)
	if got[textegress.ReportName] == "" {
		t.Error("there is no report")
	}
	delete(got, textegress.ReportName)
	if len(got) > 0 {
		t.Errorf("more is delivered: %v", got)
	}
	now := rec.Manifest()
	now.Views = late.Manifest().Views
	if diff := verify.Compare(late.Manifest(), now); len(diff) > 0 {
		t.Errorf("the statements differ: %q", diff)
	}
}

// TestBefore_Settings: a .env of an earlier version means the same.
func TestBefore_Settings(t *testing.T) {
	env, err := os.ReadFile(filepath.Join(beforeDir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), env, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var is, was any
	b, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(b, &is)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(filepath.Join(beforeDir, "config.json"))
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		t.Fatal(err)
	}
	same(t, "config", was, is)
	if p := c.Projects[0]; p.Secret.Reveal() != "sec#ret" || p.S3.SecretKey.Reveal() != "s3$ecret" {
		t.Error("the secrets are others")
	}
}

// same compares what an earlier version knew of: there may be more.
func same(t *testing.T, name string, was, is any) {
	t.Helper()
	switch was := was.(type) {
	case map[string]any:
		now, _ := is.(map[string]any)
		for key, v := range was {
			same(t, name+"."+key, v, now[key])
		}
	case []any:
		now, _ := is.([]any)
		if len(now) != len(was) {
			t.Errorf("%s: %v, was %v", name, is, was)
			return
		}
		for i := range was {
			same(t, name, was[i], now[i])
		}
	default:
		if !reflect.DeepEqual(was, is) {
			t.Errorf("%s: %v, was %v", name, is, was)
		}
	}
}
