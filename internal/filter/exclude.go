package filter

import (
	"sync/atomic"

	"github.com/syncflow/textegress"
)

// exclusions are the participants whom an operator excludes while the session runs, by identity.
// They can change at any time.
type exclusions struct {
	set atomic.Pointer[map[string]bool]
}

func (e *exclusions) len() int {
	if set := e.set.Load(); set != nil {
		return len(*set)
	}
	return 0
}

// has does not allocate.
func (e *exclusions) has(identity []byte) bool {
	set := e.set.Load()
	return set != nil && (*set)[string(identity)]
}

// SetExcluded replaces the identities that are excluded beside the rules. It applies to the next
// packet that is judged, and to the further parts of streams and the tracks that have begun.
func (f *Filter) SetExcluded(identities []string) {
	set := make(map[string]bool, len(identities))
	for _, identity := range identities {
		if identity != "" {
			set[identity] = true
		}
	}
	f.excluded.set.Store(&set)
}

// Excluded reports whether an identity is excluded by [Filter.SetExcluded].
func (f *Filter) Excluded(identity string) bool {
	return f != nil && f.excluded.has([]byte(identity))
}

// ExcludedNow judges a packet again that [Filter.Packet] or [Filter.Frame] allowed: it returns the
// reason to drop the packet if its participant has been excluded since. It counts like Packet.
func (f *Filter) ExcludedNow(b []byte, dataTrack bool) string {
	if f == nil || f.excluded.len() == 0 {
		return ""
	}
	var excluded bool
	if dataTrack {
		handle, _ := BeginsFrame(b)
		f.mu.Lock()
		excluded = f.excluded.has([]byte(f.tracks[handle].identity))
		f.mu.Unlock()
	} else {
		p, ok := peek(b)
		excluded = !ok || f.excluded.has(p.identity) || f.excluded.has(p.inner)
	}
	if !excluded {
		return ""
	}
	f.count(textegress.DroppedIdentity, len(b))
	return textegress.DroppedIdentity
}
