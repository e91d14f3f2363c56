package dir_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

func open(t *testing.T, path string) *dir.Bucket {
	t.Helper()
	b, err := dir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	objtest.Run(t, func(t *testing.T) objstore.Bucket {
		return open(t, filepath.Join(t.TempDir(), "out"))
	}, objtest.Options{Large: 20 << 20})
}

func TestNeverLeavesItsRoot(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	b := open(t, filepath.Join(base, "out"))
	if err := os.Symlink(outside, filepath.Join(base, "out", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(base, "out", "relative")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"link/x", "relative/x", "relative/deep/er/x"} {
		if err := b.Upload(t.Context(), key,
			objstore.Bytes([]byte("x"), "text/plain")); err == nil {
			t.Errorf("Upload(%q) followed a symbolic link out of the directory", key)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside of the directory: %v, %v", entries, err)
	}
}

func TestNoTemporaryFilesAreLeftOrListed(t *testing.T) {
	root := filepath.Join(t.TempDir(), "out")
	b := open(t, root)
	if err := b.Upload(t.Context(), "d/good",
		objstore.Bytes([]byte("x"), "text/plain")); err != nil {
		t.Fatal(err)
	}
	bad := objstore.Bytes([]byte("x"), "text/plain")
	bad.SHA256 = strings.Repeat("0", 64)
	if err := b.Upload(t.Context(), "d/bad", bad); err == nil {
		t.Fatal("content with another checksum was stored")
	}
	entries, err := os.ReadDir(filepath.Join(root, "d"))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v; want only the object", entries, err)
	}
	// One that a crash left behind.
	if err := os.WriteFile(filepath.Join(root, "d", ".textegress-ABC.tmp"), []byte("half"),
		0o644); err != nil {
		t.Fatal(err)
	}
	for a, err := range b.List(t.Context(), "") {
		if err != nil || a.Key != "d/good" {
			t.Errorf("listed %q, %v", a.Key, err)
		}
	}
}

func TestErrorsSayWhatToDoAndNotWhere(t *testing.T) {
	root := filepath.Join(t.TempDir(), "out")
	b := open(t, root)
	if err := b.Upload(t.Context(), "file", objstore.Bytes([]byte("x"), "text/plain")); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"name too long":   strings.Repeat("alice", 60),
		"file in the way": "file/alice",
	} {
		err := b.Upload(t.Context(), key, objstore.Bytes([]byte("x"), "text/plain"))
		if !objstore.IsPermanent(err) {
			t.Errorf("%s: %v is not called permanent", name, err)
			continue
		}
		e, _ := errors.AsType[*objstore.Error](err)
		if e.Remedy == "" {
			t.Errorf("%s: %v has no remedy", name, err)
		}
		if text := e.WithoutKey().Error(); strings.Contains(text, "alice") {
			t.Errorf("%s: the text without key contains it: %s", name, text)
		}
	}
}

func TestParentIsNotMade(t *testing.T) {
	_, err := dir.New(filepath.Join(t.TempDir(), "not mounted", "out"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("New below a missing directory = %v, want not exist", err)
	}
}

func TestReadStopsWithItsContext(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "out"))
	if err := b.Upload(t.Context(), "k", objtest.Generated(1<<20, 0)); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != 1<<20 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// TestPrivate: what is delivered to a directory is for the user alone who runs the service.
func TestPrivate(t *testing.T) {
	root := filepath.Join(t.TempDir(), "out")
	b := open(t, root)
	if err := b.Upload(t.Context(), "a/b/c",
		objstore.Bytes([]byte("x"), "text/plain")); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPipe: a named pipe in the place of an object is no object, and is not waited for.
func TestPipe(t *testing.T) {
	root := filepath.Join(t.TempDir(), "out")
	b := open(t, root)
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(t.Context(), "pipe"); !objstore.IsNotFound(err) {
		t.Error(err)
	}
}
