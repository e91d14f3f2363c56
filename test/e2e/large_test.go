package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// `make torture` sends a gigabyte.
var largeMiB = flag.Int("large-mib", 24, "size of the file of TestLargeFile")

// memoryMiB is what the recorder may occupy at most, whatever the size of the file: it never holds
// one.
const memoryMiB = 400

// A file of any size is in the record byte for byte, and called complete; the recorder's memory
// does not grow with it.
func TestLargeFile(t *testing.T) {
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "large file")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	size := *largeMiB << 20
	sum := sha256.New()
	ctx := testContext(t)
	check(t, l.SendFile(ctx, "files", "large.bin", int64(size),
		io.TeeReader(rand.NewChaCha8([32]byte{7}), sum)))
	check(t, r.Until(ctx, "the file is recorded", func(st stack.RecorderStatus) bool {
		for _, rec := range st.Recordings {
			if rec.SessionID == s.ID && rec.Bytes >= uint64(size) {
				return true
			}
		}
		return false
	}))
	check(t, l.Leave(ctx))
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	var found []textegress.Message
	for _, m := range messages(t, d) {
		if m.Kind == textegress.KindByteStream {
			found = append(found, m)
		}
	}
	if len(found) != 1 || !found[0].Stream.Complete || found[0].Stream.File == "" {
		t.Fatalf("the record has %+v, want one complete stream", found)
	}
	f, err := os.Open(filepath.Join(d.Dir, filepath.FromSlash(found[0].Stream.File)))
	check(t, err)
	defer f.Close()
	got := sha256.New()
	n, err := io.Copy(got, f)
	check(t, err)
	if n != int64(size) || hex.EncodeToString(got.Sum(nil)) != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%s has %d bytes, and they are not the %d that were sent", found[0].Stream.File, n,
			size)
	}
	_, peak, err := r.RSS()
	check(t, err)
	if peak >>= 20; peak > memoryMiB {
		t.Errorf("the recorder occupied %d MiB, want at most %d", peak, memoryMiB)
	} else {
		t.Logf("%d MiB were sent; the recorder occupied at most %d MiB", *largeMiB, peak)
	}
}
