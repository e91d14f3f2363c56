package recorder

import (
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/spool"
)

// PresentCount returns how many participants a recorder holds in memory.
func PresentCount(r *Recorder) int { return len(r.rec.snapshot().present) }

// NewFollower returns what a recorder with this filter knows of the frames of its recording.
func NewFollower(f *filter.Filter) spool.Follower { return &record{filter: f} }
