package spool

import (
	"math"
	"time"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/segment"
)

// DiskStatus is the status of the disk of a data directory.
type DiskStatus struct {
	diskguard.Status
	// FailedSyncs lists the recordings with a recent failed fsync and the time of the last failure.
	// It describes the disk; a recording stays suspect after it leaves the list.
	FailedSyncs []FailedSync
}

// FailedSync names a recording whose fsync failed.
type FailedSync struct {
	EgressID string
	At       time.Time
}

// Disk returns the state of the disk as of the last poll, which is at most a few seconds old.
func (s *Spool) Disk() DiskStatus {
	return DiskStatus{s.disk.Status(), s.failedSyncs(time.Now())}
}

// CheckStaging returns nil if the disk has room to derive the objects of a sealed recording, and
// otherwise an error that wraps [diskguard.ErrLow]. The objects need about as much space as the
// segments, in the worst case twice as much. CheckStaging keeps a quarter of DiskMinFree for the
// open recordings.
func (r *Recording) CheckStaging() error {
	sealed, ok := r.Sealed()
	if !ok {
		return nil
	}
	return r.spool.disk.Room(twice(sealed.Segments), "rendering")
}

// CheckRoom returns nil if the space that CheckStaging keeps for the open recordings is still free.
func (r *Recording) CheckRoom() error {
	return r.spool.disk.Room(0, "rendering")
}

// twice returns twice the total size of segments. The sizes may be wrong, so it guards against
// overflow.
func twice(segments []segment.Info) uint64 {
	need := uint64(0)
	for _, seg := range segments {
		need += 2 * uint64(min(seg.Size, math.MaxInt64/int64(2*len(segments))))
	}
	return need
}
