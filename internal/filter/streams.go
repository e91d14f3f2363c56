package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"

	"github.com/syncflow/textegress/segment"
)

// OpenStreams returns the streams that may be recorded further, so that a filter of a later process
// need not [Filter.Learn] what came before; nil: there are none. Those that are denied are not
// among them: unknown streams are dropped too.
func (f *Filter) OpenStreams() *segment.OpenStreams {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []byte
	for i := range f.order { // the oldest first
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

// Restore takes up what OpenStreams returned, of a filter with the same rules. Where the rules have
// changed it does nothing: whether the topics are still allowed cannot be told from it. It is
// called before anything else.
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

// digest names the rules.
func (f *Filter) digest() []byte {
	b, _ := json.Marshal(f.rules) // strings, lists and a bool
	sum := sha256.Sum256(b)
	return sum[:]
}
