// Package objtest provides the conformance suite for implementations of objstore.Bucket, and an
// in-memory bucket with injectable faults.
package objtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/objstore"
)

// Options describes an implementation to the suite.
type Options struct {
	// Checksums requires that Stat sets SHA256 for objects up to 1 MiB.
	Checksums bool
	// Large, if not 0, is the size in bytes of an additional object that does not fit in one
	// request of the implementation.
	Large int64
	// ShortKeys leaves out keys with components longer than 200 bytes.
	ShortKeys bool
}

// Run runs the suite. newBucket returns an empty bucket each time.
func Run(t *testing.T, newBucket func(t *testing.T) objstore.Bucket, o Options) {
	t.Run("content comes back as it went in",
		func(t *testing.T) { testRoundTrip(t, newBucket(t), o) })
	t.Run("hostile but legal keys", func(t *testing.T) { testKeys(t, newBucket(t)) })
	t.Run("keys that no bucket accepts", func(t *testing.T) { testBadKeys(t, newBucket(t)) })
	t.Run("nothing there", func(t *testing.T) { testNotFound(t, newBucket(t)) })
	t.Run("content that is not the announced one is not stored",
		func(t *testing.T) { testWrongContent(t, newBucket(t)) })
	t.Run("content that cannot be read is not stored",
		func(t *testing.T) { testUnreadable(t, newBucket(t)) })
	t.Run("upload replaces", func(t *testing.T) { testReplace(t, newBucket(t)) })
	t.Run("list", func(t *testing.T) { testList(t, newBucket(t)) })
	t.Run("ended context", func(t *testing.T) { testContext(t, newBucket(t)) })
	t.Run("concurrent uploads", func(t *testing.T) { testConcurrent(t, newBucket(t)) })
	if o.Large > 0 {
		t.Run("large object", func(t *testing.T) { testLarge(t, newBucket(t), o.Large) })
	}
}

func upload(t *testing.T, b objstore.Bucket, key string, data []byte) objstore.Object {
	t.Helper()
	o := objstore.Bytes(data, "application/octet-stream")
	if err := b.Upload(t.Context(), key, o); err != nil {
		t.Fatalf("Upload(%q, %d bytes): %v", key, len(data), err)
	}
	return o
}

func read(t *testing.T, b objstore.Bucket, key string) []byte {
	t.Helper()
	r, err := b.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open(%q): %v", key, err)
	}
	defer r.Close() //nolint:errcheck // reading only
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading %q: %v", key, err)
	}
	return data
}

func testRoundTrip(t *testing.T, b objstore.Bucket, o Options) {
	for _, size := range []int{0, 1, 100, 64 << 10, 1 << 20} {
		data := bytes.Repeat([]byte{0, 1, 0xff, '\n', 'x'}, size/5+1)[:size]
		key := fmt.Sprintf("sizes/%d.bin", size)
		obj := upload(t, b, key, data)
		if got := read(t, b, key); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: read back %d other bytes", size, len(got))
		}
		a, err := b.Stat(t.Context(), key)
		if err != nil {
			t.Fatalf("Stat(%q): %v", key, err)
		}
		want := objstore.Attrs{Key: key, Size: int64(size)}
		if o.Checksums || a.SHA256 != "" {
			want.SHA256 = obj.SHA256
		}
		if diff := cmp.Diff(want, a); diff != "" {
			t.Errorf("Stat(%q) (-want +got):\n%s", key, diff)
		}
		if err := objstore.Verify(t.Context(), b, key, obj.Size, obj.SHA256); err != nil {
			t.Errorf("Verify(%q): %v", key, err)
		}
		other := sha256.Sum256([]byte("other"))
		if err := objstore.Verify(t.Context(), b, key, obj.Size,
			hex.EncodeToString(other[:])); !errors.Is(err, objstore.ErrDiffers) {
			t.Errorf("Verify(%q) with another checksum: %v, want ErrDiffers", key, err)
		}
		if err := objstore.Verify(t.Context(), b, key, obj.Size+1, obj.SHA256); !errors.Is(err,
			objstore.ErrDiffers) {
			t.Errorf("Verify(%q) with another size: %v, want ErrDiffers", key, err)
		}
	}
}

// Keys returns keys as people choose them, with everything that is legal in a component of an
// object key, escaped or not.
func Keys() []string {
	return []string{
		"plain.txt",
		"My Project-0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11/class " +
			"1/text-egress/all-topics/DE_x/alice-all-topics-2025-06-11T20:30:40UTC.txt",
		"a/..b/c", "a/...", "a/b.", "dash/-rf", "dot/.hidden",
		"space/ leading and trailing ", "plus/a+b", "percent/100%25", "percent/%2F", "percent/%ZZ",
		"query/a?b=c&d", "hash/a#b",
		"quote/'\"`", "brackets/[a]{b}(c)<d>", "punctuation/~!@$^*_=|,;:", "semi/a;b", "star/*",
		"中文/学生/名字", "emoji/👩🏽‍🎓", "arabic/مرحبا", "combining/e\u0301", "nbsp/a\u00a0b",
		"colon/12:30:40", "colon/12%3A30%3A40", "device/NUL", "device/con.txt", "backslash/a\\b",
		"long/" + strings.Repeat("x", 200),
	}
}

func testKeys(t *testing.T, b objstore.Bucket) {
	for i, key := range Keys() {
		upload(t, b, key, fmt.Appendf(nil, "object %d", i))
	}
	for i, key := range Keys() {
		if got, want := string(read(t, b, key)), fmt.Sprintf("object %d", i); got != want {
			t.Errorf("%q holds %q, want %q", key, got, want)
		}
	}
	listed := map[string]bool{}
	for a, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		listed[a.Key] = true
	}
	for _, key := range Keys() {
		if !listed[key] {
			t.Errorf("%q is not listed", key)
		}
	}
}

func testBadKeys(t *testing.T, b objstore.Bucket) {
	for _, key := range []string{
		"", "/", "/abs", "a//b", "a/", "..", "../x", "a/../b", ".",
		"a/./b", "nul\x00", "line\nfeed", "bad\xffutf8", strings.Repeat("long/", 205) + "x",
	} {
		if err := b.Upload(t.Context(), key,
			objstore.Bytes([]byte("x"), "text/plain")); err == nil || !objstore.IsPermanent(err) {
			t.Errorf("Upload(%q) = %v, want a permanent error", key, err)
		}
		if _, err := b.Stat(t.Context(), key); err == nil {
			t.Errorf("Stat(%q) succeeded", key)
		}
		if _, err := b.Open(t.Context(), key); err == nil {
			t.Errorf("Open(%q) succeeded", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete(%q) succeeded", key)
		}
	}
}

func testNotFound(t *testing.T, b objstore.Bucket) {
	upload(t, b, "a/there", []byte("x"))
	for _, key := range []string{"absent", "a/absent", "a/b/c", "a"} {
		if _, err := b.Stat(t.Context(), key); !objstore.IsNotFound(err) {
			t.Errorf("Stat(%q) = %v, want not found", key, err)
		}
		if r, err := b.Open(t.Context(), key); !objstore.IsNotFound(err) {
			t.Errorf("Open(%q) = %v, want not found", key, err)
			if err == nil {
				r.Close() //nolint:errcheck // failed already
			}
		}
	}
	if err := b.Delete(t.Context(), "absent"); err != nil {
		t.Errorf("Delete of an absent object: %v", err)
	}
	if err := b.Delete(t.Context(), "a/there"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := b.Stat(t.Context(), "a/there"); !objstore.IsNotFound(err) {
		t.Errorf("Stat of a deleted object = %v, want not found", err)
	}
	if objstore.IsNotFound(nil) || objstore.IsPermanent(nil) || objstore.IsNotFound(io.EOF) {
		t.Error("other errors are taken for not found or permanent")
	}
}

func testWrongContent(t *testing.T, b objstore.Bucket) {
	good := objstore.Bytes([]byte("what was announced"), "text/plain")
	for name, damaged := range map[string][]byte{
		"other":   []byte("what was ANNOUNCED"),
		"shorter": []byte("what was"), "empty": nil,
	} {
		o := good
		o.Open = objstore.Bytes(damaged, "").Open
		if err := b.Upload(t.Context(), name, o); err == nil {
			t.Errorf("%s: stored", name)
		}
		if _, err := b.Stat(t.Context(), name); !objstore.IsNotFound(err) {
			t.Errorf("%s: Stat after the refusal = %v, want not found", name, err)
		}
	}
}

func testUnreadable(t *testing.T, b objstore.Bucket) {
	broken := errors.New("disk broken")
	o := objstore.Bytes(bytes.Repeat([]byte("x"), 1<<20), "text/plain")
	whole := o.Open
	o.Open = func() (io.ReadSeekCloser, error) { return nil, broken }
	if err := b.Upload(t.Context(), "k", o); !errors.Is(err, broken) {
		t.Errorf("Upload of content that cannot be opened = %v, want the reason", err)
	}
	o.Open = func() (io.ReadSeekCloser, error) {
		r, err := whole()
		return &brokenReader{r, 1 << 19, broken}, err
	}
	if err := b.Upload(t.Context(), "k", o); err == nil {
		t.Error("Upload of content that breaks in the middle succeeded")
	}
	if _, err := b.Stat(t.Context(), "k"); !objstore.IsNotFound(err) {
		t.Errorf("Stat after that = %v, want not found", err)
	}
}

// brokenReader fails at a fixed offset on every pass.
type brokenReader struct {
	io.ReadSeekCloser
	at  int64
	err error
}

func (r *brokenReader) Read(p []byte) (int, error) {
	pos, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if pos >= r.at {
		return 0, r.err
	}
	return r.ReadSeekCloser.Read(p[:min(int64(len(p)), r.at-pos)])
}

func testReplace(t *testing.T, b objstore.Bucket) {
	upload(t, b, "k", []byte("first, and longer"))
	upload(t, b, "k", []byte("second"))
	if got := string(read(t, b, "k")); got != "second" {
		t.Errorf("after the second upload: %q", got)
	}
}

func testList(t *testing.T, b objstore.Bucket) {
	for _, key := range []string{"a/1", "a/2", "a/b/3", "ab/4", "b/5"} {
		upload(t, b, key, []byte(key))
	}
	for prefix, want := range map[string][]string{
		"":     {"a/1", "a/2", "a/b/3", "ab/4", "b/5"},
		"a":    {"a/1", "a/2", "a/b/3", "ab/4"},
		"a/":   {"a/1", "a/2", "a/b/3"},
		"a/b/": {"a/b/3"},
		"none": nil,
	} {
		var got []string
		for a, err := range b.List(t.Context(), prefix) {
			if err != nil {
				t.Fatalf("List(%q): %v", prefix, err)
			}
			if a.Size != int64(len(a.Key)) {
				t.Errorf("List(%q): %q has %d bytes", prefix, a.Key, a.Size)
			}
			got = append(got, a.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
		}
	}
	for range b.List(t.Context(), "") {
		break // a caller may stop early
	}
}

func testContext(t *testing.T, b objstore.Bucket) {
	upload(t, b, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context = %v, want context.Canceled", op, err)
		}
		if objstore.IsPermanent(err) || objstore.IsNotFound(err) {
			t.Errorf("%s with an ended context is called permanent or not found", op)
		}
	}
	check("Upload", b.Upload(ctx, "k", objstore.Bytes([]byte("x"), "text/plain")))
	_, err := b.Stat(ctx, "there")
	check("Stat", err)
	r, err := b.Open(ctx, "there")
	if err == nil {
		_, err = io.ReadAll(r)
	}
	check("Open", err)
	check("Delete", b.Delete(ctx, "there"))
	for _, err := range b.List(ctx, "") {
		check("List", err)
	}
	if _, err := b.Stat(t.Context(), "k"); !objstore.IsNotFound(err) {
		t.Errorf("an upload with an ended context was stored (%v)", err)
	}
}

func testConcurrent(t *testing.T, b objstore.Bucket) {
	var wg sync.WaitGroup
	same := bytes.Repeat([]byte("same"), 10000)
	for i := range 8 {
		wg.Go(func() {
			if err := b.Upload(t.Context(), fmt.Sprintf("deep/er/%d/k", i),
				objstore.Bytes(fmt.Appendf(nil, "%d", i), "text/plain")); err != nil {
				t.Errorf("Upload: %v", err)
			}
			if err := b.Upload(t.Context(), "deep/same",
				objstore.Bytes(same, "text/plain")); err != nil {
				t.Errorf("Upload to the same key: %v", err)
			}
		})
	}
	wg.Wait()
	if got := read(t, b, "deep/same"); !bytes.Equal(got, same) {
		t.Errorf("same key: %d other bytes", len(got))
	}
	for i := range 8 {
		if got := string(read(t, b, fmt.Sprintf("deep/er/%d/k", i))); got != fmt.Sprint(i) {
			t.Errorf("object %d holds %q", i, got)
		}
	}
}

func testLarge(t *testing.T, b objstore.Bucket, size int64) {
	o := Generated(size, 1)
	if err := b.Upload(t.Context(), "large/object", o); err != nil {
		t.Fatalf("Upload of %d bytes: %v", size, err)
	}
	if err := objstore.Verify(t.Context(), b, "large/object", o.Size, o.SHA256); err != nil {
		t.Errorf("Verify: %v", err)
	}
	// The store's checksum may be one over parts; the content read back must match in any case.
	r, err := b.Open(t.Context(), "large/object")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // reading only
	h := sha256.New()
	if n, err := io.Copy(h, r); err != nil || n != size ||
		hex.EncodeToString(h.Sum(nil)) != o.SHA256 {
		t.Errorf("read back %d of %d bytes, %v", n, size, err)
	}
}

// Generated returns an object of the given size that computes its content on read and so occupies
// no memory. Tests use it to show that an upload does not hold its content in memory either.
func Generated(size int64, seed byte) objstore.Object {
	open := func() (io.ReadSeekCloser, error) { return &generated{size: size, seed: seed}, nil }
	h := sha256.New()
	r, _ := open()
	io.Copy(h, r) //nolint:errcheck // cannot fail
	return objstore.Object{
		Open: open, Size: size, SHA256: hex.EncodeToString(h.Sum(nil)),
		ContentType: "application/octet-stream",
	}
}

type generated struct {
	size, pos int64
	seed      byte
}

func (g *generated) Read(p []byte) (int, error) {
	if g.pos >= g.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), g.size-g.pos))
	for i := 0; i < n; {
		at := g.pos + int64(i)
		var word [8]byte // the word at this offset; no two words of an object are equal
		binary.LittleEndian.PutUint64(word[:], (uint64(at/8)+uint64(g.seed)<<56)*0x9e3779b97f4a7c15)
		i += copy(p[i:n], word[at%8:])
	}
	g.pos += int64(n)
	return n, nil
}

func (g *generated) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		g.pos = offset
	case io.SeekCurrent:
		g.pos += offset
	case io.SeekEnd:
		g.pos = g.size + offset
	}
	return g.pos, nil
}

func (g *generated) Close() error { return nil }
