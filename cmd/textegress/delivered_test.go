package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/verify"
)

const testPrefix = "Study-1/room/text-egress/all-topics/DE_done"

// deliveredBucket holds a small recording.
func deliveredBucket(t *testing.T) *objtest.Memory {
	t.Helper()
	dir := t.TempDir()
	if err := writeDelivered(dir); err != nil {
		t.Fatal(err)
	}
	bucket := objtest.NewMemory("b", false)
	for _, name := range []string{textegress.ManifestName, textegress.EventsName} {
		content, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := bucket.Upload(t.Context(), testPrefix+"/"+name,
			objstore.Bytes(content, "text/plain")); err != nil {
			t.Fatal(err)
		}
	}
	return bucket
}

func TestVerifyInABucket(t *testing.T) {
	refused := &objstore.Error{Op: "open", Cause: "access denied"}
	for name, tt := range map[string]struct {
		do     func(t *testing.T, b *objtest.Memory)
		ok     bool
		unread int
		says   string
		fails  bool // could not begin
	}{
		"complete": {do: func(*testing.T, *objtest.Memory) {}, ok: true},
		"missing": {do: func(t *testing.T, b *objtest.Memory) {
			if err := b.Delete(t.Context(), testPrefix+"/events.jsonl"); err != nil {
				t.Fatal(err)
			}
		}, says: "events.jsonl"},
		"no manifest": {do: func(t *testing.T, b *objtest.Memory) {
			if err := b.Delete(t.Context(), testPrefix+"/manifest.json"); err != nil {
				t.Fatal(err)
			}
		}, says: "manifest.json is missing"},
		"store fails for one": {do: func(_ *testing.T, b *objtest.Memory) {
			b.SetFault(func(_, key string) *objtest.Fault {
				if strings.HasSuffix(key, "events.jsonl") {
					return &objtest.Fault{Err: refused}
				}
				return nil
			})
		}, unread: 1, says: "access denied"},
		"store fails": {do: func(_ *testing.T, b *objtest.Memory) {
			b.SetFault(func(string, string) *objtest.Fault { return &objtest.Fault{Err: refused} })
		}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := deliveredBucket(t)
			tt.do(t, bucket)
			answer, err := verify.Recording(t.Context(),
				objfs.New(t.Context(), bucket, testPrefix+"/"), verify.Options{})
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			if answer.OK != tt.ok || answer.Unread != tt.unread ||
				!strings.Contains(strings.Join(answer.Problems, "\n"), tt.says) {
				t.Errorf("answer %+v", answer)
			}
		})
	}
}

func TestBucketFSOpensNothingElse(t *testing.T) {
	fsys := objfs.New(t.Context(), deliveredBucket(t), testPrefix+"/")
	for _, name := range []string{
		"../DE_other/manifest.json", "/manifest.json", "", ".",
		"raw/../manifest.json",
	} {
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
	info, err := fs.Stat(fsys, "manifest.json")
	if err != nil || info.Size() == 0 || info.Name() != "manifest.json" || info.IsDir() {
		t.Errorf("Stat: %v, %v", info, err)
	}
}

func TestProjectOfBucket(t *testing.T) {
	c := &config.Config{Projects: []config.Project{
		{Index: 0, Directory: "/x"},
		{Index: 2, S3: &config.S3{Bucket: "a"}},
		{Index: 3, S3: &config.S3{Bucket: "b"}},
		{Index: 4, S3: &config.S3{Bucket: "b"}},
	}}
	p, err := projectOfBucket(c, "b")
	if err != nil || p.Index != 3 {
		t.Errorf("got project %d, %v", p.Index, err)
	}
	if _, err := projectOfBucket(c, "c"); exitCode(err) != exitUsage {
		t.Errorf("an unknown bucket: %v", err)
	}
}

// TestDeliversTo: a recording in one project's bucket is not decrypted with the key of another
// project that it names.
func TestDeliversTo(t *testing.T) {
	c := &config.Config{Projects: []config.Project{
		{ProjectID: "a", S3: &config.S3{Bucket: "bucket-a"}},
		{ProjectID: "b", S3: &config.S3{Bucket: "bucket-b"}},
		{ProjectID: "c", Directory: "/x"},
	}}
	for projectID, ok := range map[string]bool{"a": true, "b": false, "c": false, "unknown": true} {
		if err := deliversTo(c, projectID, "bucket-a"); (err == nil) != ok {
			t.Errorf("project %s: %v", projectID, err)
		}
	}
}
