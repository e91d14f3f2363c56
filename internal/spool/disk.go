package spool

import (
	"math"
	"time"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/segment"
)

// DiskStatus is what is known about the disk of a data directory.
type DiskStatus struct {
	diskguard.Status
	// FailedSyncs are the recordings with a recent failed fsync and the time of the last failure.
	// They stay suspect; this is about the disk.
	FailedSyncs []FailedSync
}

// FailedSync names a recording whose fsync failed.
type FailedSync struct {
	EgressID string
	At       time.Time
}

// Disk returns the state of the disk as of the last poll, at most some seconds
// ago.
func (s *Spool) Disk() DiskStatus {
	return DiskStatus{s.disk.Status(), s.failedSyncs(time.Now())}
}

// CheckStaging reports whether there is room to derive the objects of a sealed
// recording on this disk: nil, or an error that wraps [diskguard.ErrLow]. Deriving needs
// about as much again as the segments have, in the worst case twice; a quarter of
// DiskMinFree is left to the recordings that continue.
func (r *Recording) CheckStaging() error {
	sealed, ok := r.Sealed()
	if !ok {
		return nil
	}
	return r.spool.disk.Room(twice(sealed.Segments), "deriving the objects of")
}

// CheckRoom reports whether what CheckStaging keeps for the recordings that continue
// is still free.
func (r *Recording) CheckRoom() error {
	return r.spool.disk.Room(0, "deriving the objects of")
}

// twice returns twice the size of segments, whose figures may be wrong.
func twice(segments []segment.Info) uint64 {
	need := uint64(0)
	for _, seg := range segments {
		need += 2 * uint64(min(seg.Size, math.MaxInt64/int64(2*len(segments))))
	}
	return need
}
