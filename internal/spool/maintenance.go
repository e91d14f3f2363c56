package spool

import (
	"cmp"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/diskguard"
)

// runMaintenance polls the free space and rotates old segments until the spool is closed.
func (s *Spool) runMaintenance() {
	t := time.NewTicker(max(min(diskguard.PollEvery, s.segmentAge/10), time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-t.C:
			s.rotateOld()
			s.disk.PollIfDue(now)
		}
	}
}

// rotateOld rotates the segments that are older than SegmentAge, including those of recordings that
// receive no more frames.
func (s *Spool) rotateOld() {
	s.mu.Lock()
	all := make([]*Recording, 0, len(s.recordings))
	for _, r := range s.recordings {
		all = append(all, r)
	}
	s.mu.Unlock()
	for _, r := range all {
		if w := r.currentWriter(); w != nil {
			w.rotateExpired()
		}
	}
}

func (w *Writer) rotateExpired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil && w.segment != nil && w.expired(w.spool.clock.Read().MonoNS) {
		w.rotate()
	}
}

// expired reports whether the segment has reached its age. Called with mu held.
func (w *Writer) expired(monoNS int64) bool {
	return w.segment.frames > w.segment.head &&
		time.Duration(monoNS-w.segment.began) >= w.spool.segmentAge
}

// failedSyncFor is how long a failed fsync counts against the disk. If no other fsync fails for
// this long, all segments started since then have become durable.
const failedSyncFor = 10 * time.Minute

func (s *Spool) syncFailed(egressID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[egressID] = time.Now()
}

func (s *Spool) failedSyncs(now time.Time) []FailedSync {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []FailedSync
	for id, at := range s.failed {
		if now.Sub(at) >= failedSyncFor {
			delete(s.failed, id)
			continue
		}
		list = append(list, FailedSync{id, at})
	}
	slices.SortFunc(list, func(a, b FailedSync) int {
		return cmp.Or(a.At.Compare(b.At),
			cmp.Compare(a.EgressID, b.EgressID))
	})
	return list
}
