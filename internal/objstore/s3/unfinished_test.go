package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// leave begins an upload in parts to each key, of which the end never comes, as a killed process
// leaves it.
func leave(f *fakeS3, keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		id := "left-" + key
		f.uploads[id], f.to[id] = map[int][]byte{1: []byte("part")}, key
	}
}

func left(f *fakeS3) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	for id := range f.uploads {
		keys = append(keys, f.to[id])
	}
	return strings.Join(slices.Sorted(slices.Values(keys)), " ")
}

// The next upload to the same key, in whichever process, removes what an earlier one has left, and
// nothing else.
func TestTheNextUploadRemovesWhatWasLeft(t *testing.T) {
	f, srv := newFakeS3(t)
	o := options(srv)
	o.MultipartThreshold, o.PartSize = 1<<20, 1<<20
	leave(f, "room/large", "room/large2", "room/other")
	if err := open(t, o).Upload(t.Context(), "room/large",
		objtest.Generated(3<<20, 1)); err != nil {
		t.Fatal(err)
	}
	if got := left(f); got != "room/large2 room/other" {
		t.Errorf("left are parts of %q", got)
	}
}

func TestAbortUploads(t *testing.T) {
	f, srv := newFakeS3(t)
	objtest.Unfinished(t, open(t, options(srv)), func(key string) { leave(f, key) },
		func() []string { return strings.Fields(left(f)) })
}

// What is being uploaded just now is not left over.
func TestAbortUploadsSparesThoseBeingMade(t *testing.T) {
	f, srv := newFakeS3(t)
	o := options(srv)
	o.MultipartThreshold, o.PartSize = 1<<20, 1<<20
	b := open(t, o)
	aborted := -1
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == "2" && aborted < 0 {
			aborted = 0
			n, err := b.AbortUploads(t.Context(), "", func(string) bool { return false })
			if aborted = n; err != nil {
				t.Error(err)
			}
		}
		return false
	}
	if err := b.Upload(t.Context(), "large", objtest.Generated(3<<20, 1)); err != nil ||
		aborted != 0 {
		t.Errorf("Upload = %v with %d uploads removed meanwhile", err, aborted)
	}
}

// A store that cannot list such uploads, or a key that may not, keeps nothing from being uploaded.
// Where they cannot be looked for because of a right, a removal says so.
func TestUploadsThatCannotBeListed(t *testing.T) {
	for code, tc := range map[string]struct {
		status int
		failed bool
	}{
		"NotImplemented": {501, false}, "MethodNotAllowed": {405, false},
		"AccessDenied": {403, true}, "InternalError": {500, true},
	} {
		f, srv := newFakeS3(t)
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "GET" && r.URL.Query().Has("uploads") {
				answer(w, tc.status, code, "No.")
				return true
			}
			if r.Method == "GET" && r.URL.Query().Has("versions") {
				w.Write([]byte(
					"<R><IsTruncated>false</IsTruncated><Version><Key>room/large</Key></Version></R>"))
				return true
			}
			return false
		}
		o := options(srv)
		o.MultipartThreshold, o.PartSize = 1<<20, 1<<20
		b := open(t, o)
		if err := b.Upload(t.Context(), "room/large", objtest.Generated(3<<20, 1)); err != nil {
			t.Errorf("%s: Upload = %v", code, err)
		}
		_, err := b.AbortUploads(t.Context(), "room/", func(string) bool { return false })
		if (err != nil) != tc.failed {
			t.Errorf("%s: AbortUploads = %v", code, err)
		}
		if e, _ := errors.AsType[*objstore.Error](err); code == "AccessDenied" &&
			(e == nil || !strings.Contains(e.Remedy, "s3:ListBucketMultipartUploads")) {
			t.Errorf("%s: %v does not name the right", code, err)
		}
		p, err := objstore.Purge(t.Context(), b, "room/", "", func(string) bool { return false })
		if err != nil || p.Deleted != 1 || p.Complete() == tc.failed ||
			(p.Uploads != "") != tc.failed {
			t.Errorf("%s: purged %+v, %v", code, p, err)
		}
	}
}

func TestPurgeRemovesUploadsThatWereInterrupted(t *testing.T) {
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" && r.URL.Query().Has("versions") {
			w.Write([]byte("<R><IsTruncated>false</IsTruncated></R>"))
			return true
		}
		return false
	}
	leave(f, "room/a", "room/r2/b", "elsewhere/c")
	p, err := objstore.Purge(t.Context(), open(t, options(srv)), "room/", "",
		func(key string) bool { return strings.HasPrefix(key, "room/r2/") })
	if err != nil || !p.Complete() || p.Deleted != 1 || left(f) != "elsewhere/c room/r2/b" {
		t.Errorf("purged %+v, %v; left are parts of %q", p, err, left(f))
	}
}

// TestEndlessUploads: a store that tells of ever more uploads does not take the memory, and keeps
// nothing from being uploaded.
func TestEndlessUploads(t *testing.T) {
	f, srv := newFakeS3(t)
	pages := 0
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !r.URL.Query().Has("uploads") {
			return false
		}
		if pages++; pages > 100 {
			answer(w, 500, "InternalError", "That is enough.")
			return true
		}
		fmt.Fprintf(w, "<R><IsTruncated>true</IsTruncated><NextKeyMarker>%d</NextKeyMarker>", pages)
		for i := range 1000 {
			fmt.Fprintf(w, "<Upload><Key>room/large</Key><UploadId>%d-%d</UploadId></Upload>",
				pages, i)
		}
		io.WriteString(w, "</R>")
		return true
	}
	b := open(t, options(srv))
	if _, err := b.AbortUploads(t.Context(), "room/",
		func(string) bool { return true }); err == nil ||
		!strings.Contains(err.Error(), "does not end") {
		t.Errorf("AbortUploads = %v", err)
	}
	if pages > 20 {
		t.Errorf("%d pages were read", pages)
	}
}
