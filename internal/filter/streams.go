package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"

	"github.com/syncflow/textegress/segment"
)

// OpenStreams returns the open streams that the rules allow, or nil if there are none. With them,
// the filter of a later process does not need [Filter.Learn]. Denied streams are left out, because
// unknown streams are dropped too.
func (f *Filter) OpenStreams() *segment.OpenStreams {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []byte
	for i := range f.order { // oldest first
		key := f.order[(f.next+i)%len(f.order)]
		if e, known := f.streams[key]; known && !e.denied {
			ids = append(ids, key[:]...)
		}
	}
	if ids == nil {
		return nil
	}
	return &segment.OpenStreams{Rules: f.digest(), Key: f.secret, IDs: ids}
}

// Restore restores the result of OpenStreams from a filter with the same rules. If the rules have
// changed it does nothing: the result does not contain the topics, so whether the new rules allow
// them is unknown. Call it before all other methods.
func (f *Filter) Restore(s *segment.OpenStreams) {
	if f == nil || s == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.Equal(s.Rules, f.digest()) || len(f.streams) > 0 {
		return
	}
	f.secret = s.Key
	for ids := s.IDs; len(ids) >= len(streamKey{}); ids = ids[len(streamKey{}):] {
		f.remember(streamKey(ids[:len(streamKey{})]), entry{}, false)
	}
}

// digest returns a hash of the rules.
func (f *Filter) digest() []byte {
	b, _ := json.Marshal(f.rules) // strings, lists and a bool always marshal
	sum := sha256.Sum256(b)
	return sum[:]
}
