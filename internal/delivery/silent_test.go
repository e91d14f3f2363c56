package delivery_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
)

// hungMount is a disk on which one file does not answer until it is mended.
type hungMount struct {
	noSync

	path   string
	mended chan struct{}
	opened atomic.Int32
	inOpen bool // it hangs in open, not in read
}

func (h *hungMount) Open(op, name string) (durable.File, error) {
	if op != "read-segment" || name != h.path {
		return h.noSync.Open(op, name)
	}
	h.opened.Add(1)
	if h.inOpen {
		<-h.mended
	}
	f, err := h.noSync.Open(op, name)
	return hungFile{f, h}, err
}

type hungFile struct {
	durable.File

	h *hungMount
}

func (f hungFile) Read(p []byte) (int, error) {
	<-f.h.mended
	return f.File.Read(p)
}

// TestASilentDiskDelaysNoOther: a segment on a mount that does not answer holds up its own
// recording, which is delivered when it answers; it is not asked again meanwhile, and the service
// can stop.
func TestASilentDiskDelaysNoOther(t *testing.T) {
	for name, inOpen := range map[string]bool{"in open": true, "in read": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1")
				if err := w.sp.Close(); err != nil {
					t.Fatal(err)
				}
				h := &hungMount{
					path:   filepath.Join(w.dir, "recordings", id, "000001.seg"),
					mended: make(chan struct{}), inOpen: inOpen,
				}
				sp, err := spool.Open(w.dir, spool.Options{FS: h})
				if err != nil {
					t.Fatal(err)
				}
				w.useSpool(sp)
				hung := make(chan struct{})
				close(h.mended) // while it is recorded it works
				w.record("p1", id)
				h.mended = hung
				w.record("p1", "DE_000000000002")
				w.run()
				settle(10 * time.Minute)
				w.delivered("DE_000000000002", 1)
				if e := w.up.Snapshot().Errors[id]; !strings.Contains(e,
					"the disk has not answered for 2m0s while reading 000001.seg") {
					t.Errorf("the error is %q", e)
				}
				asked := h.opened.Load()
				settle(time.Hour)
				if n := h.opened.Load(); n != asked {
					t.Errorf("the file was opened %d times more", n-asked)
				}
				w.stop() // returns
				w.run()
				close(hung)
				settle(10 * time.Minute)
				w.delivered(id, 1)
				w.shutDown()
			})
		})
	}
}

// TestAPipeDelaysNoOther: a pipe under the name of a segment counts as a missing segment, and the
// rest is delivered.
func TestAPipeDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		rec := w.record("p1", id)
		w.record("p1", "DE_000000000002")
		segment := filepath.Join(rec.Dir(), "000001.seg")
		if err := os.Remove(segment); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(segment, 0o600); err != nil {
			t.Fatal(err)
		}
		w.run()
		settle(time.Minute)
		w.delivered("DE_000000000002", 1)
		delivered, err := textegress.Open(objfs.New(t.Context(), w.buckets["p1"],
			rec.Info().KeyPrefix))
		if err != nil {
			t.Fatal(err)
		}
		if c := delivered.Manifest().Completeness; c.CorruptRanges != 1 || c.FramesMissing != 5 {
			t.Errorf("stated are %d damaged ranges, %d frames", c.CorruptRanges, c.FramesMissing)
		}
		w.shutDown()
	})
}
