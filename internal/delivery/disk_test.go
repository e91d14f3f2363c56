package delivery_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/spool"
)

// sizedDisk has as much room as the test says.
type sizedDisk struct {
	noSync
	free *atomic.Uint64
}

func (d sizedDisk) Space(string, string) (durable.Space, error) {
	return durable.Space{Free: d.free.Load(), Total: 1 << 40}, nil
}

// TestStagingOnAFullDisk: deriving the objects must not take the room of the
// recordings that go on, nor leave anything behind where it fails. Delivery
// follows when it is possible.
func TestStagingOnAFullDisk(t *testing.T) {
	const minFree = 1 << 20
	for _, tt := range []struct {
		name string
		free uint64
		hook func(durabletest.Call) (int, error)
		says string
	}{
		{"hardly any room", minFree / 4, nil, "the disk is nearly full"},
		{"the disk fails while deriving", 1 << 30, func(c durabletest.Call) (int, error) {
			if c.Label == "read-segment" && c.Name == "read" {
				return 0, syscall.EIO
			}
			return 0, nil
		}, "input/output error"},
		// What is sent compressed can be a thousand times as large.
		{
			"the room goes while deriving", 1 << 30, nil,
			"takes more space than its segments",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			free := &atomic.Uint64{}
			free.Store(1 << 30)
			disk := &durabletest.Fault{FS: sizedDisk{free: free}}
			sp, err := spool.Open(filepath.Join(t.TempDir(), "data"),
				spool.Options{FS: disk, DiskMinFree: minFree, SyncInterval: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			defer sp.Close()
			w := &world{t: t, sp: sp}
			rec := w.record("p", "DE_1")
			bucket := objtest.NewMemory("p", true)
			up := delivery.New(delivery.Options{
				Spool: sp, Retention: -1,
				Projects: &projects{bucket: oneBucket(bucket)},
			})

			free.Store(tt.free)
			disk.Hook = tt.hook
			if tt.name == "the room goes while deriving" {
				disk.Hook = func(c durabletest.Call) (int, error) {
					if c.Label == "read-segment" {
						free.Store(0)
					}
					return 0, nil
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := up.Drain(ctx); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if got := up.Snapshot().Errors["DE_1"]; !strings.Contains(got, tt.says) {
				t.Errorf("the status says %q", got)
			}
			if _, err := os.Stat(rec.StagingDir()); !os.IsNotExist(err) {
				t.Errorf("what was derived is still there: %v", err)
			}
			if rec.State() != spool.StateSealed || len(bucket.Objects()) > 0 {
				t.Errorf("%s, %d objects", rec.State(), len(bucket.Objects()))
			}

			free.Store(1 << 30)
			disk.Hook = nil
			if err := up.Drain(t.Context()); err != nil || rec.State() != spool.StateUploaded {
				t.Errorf("with room: %v, %s", err, rec.State())
			}
			if _, ok := bucket.Objects()[rec.Info().KeyPrefix+textegress.ManifestName]; !ok {
				t.Error("no manifest")
			}
		})
	}
}
