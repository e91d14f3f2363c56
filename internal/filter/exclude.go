package filter

import (
	"reflect"
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

// SetRules replaces the rules that apply beside those of [New], from the next packet on that is
// written, also to the further parts of streams and to tracks that have begun. Together, both allow
// what each allows, so SetRules can end the recording of something and begin it again, but not
// allow what the rules of New exclude. Under rules with topics, a stream that has begun before is
// not continued, because its topic is not known any more. Attributes exclude nobody by these rules.
func (f *Filter) SetRules(rules textegress.SelectionRules) error {
	rules.ExcludeByAttribute = false
	base := f.rules
	base.ExcludeByAttribute = false
	if rules.IsZero() || reflect.DeepEqual(rules, base) {
		f.later.Store(nil)
		return nil
	}
	later, err := New(rules)
	if err != nil {
		return err
	}
	later.isLater = true
	f.mu.Lock()
	defer f.mu.Unlock()
	for handle, t := range f.tracks {
		later.Track(handle, t.participantSID, t.identity, t.name)
	}
	f.later.Store(later)
	return nil
}

// narrowed returns the rules that f and later make together.
func (f *Filter) narrowed(later *Filter) textegress.SelectionRules {
	rules := Narrow(f.rules, later.rules)
	rules.ExcludeByAttribute = f.rules.ExcludeByAttribute
	rules.EncryptedKept = rules.EncryptedKept && (!f.byTopic || f.rules.EncryptedKept) &&
		(!later.byTopic || later.rules.EncryptedKept)
	return rules
}

// Excluded reports whether an identity is excluded while the session runs, by [Filter.SetExcluded]
// or [Filter.SetRules].
func (f *Filter) Excluded(identity string) bool {
	return f != nil && f.deniesLater([]byte(identity))
}

func (f *Filter) deniesLater(identity []byte) bool {
	if f.excluded.has(identity) {
		return true
	}
	l := f.later.Load()
	return l != nil && l.denies(identity)
}

// DropNow judges a packet that [Filter.Packet] or [Filter.Frame] allowed when it is written: it
// returns the reason to drop the packet if it is excluded since. It counts like Packet. The result
// is the same if it is called again for the same packet.
func (f *Filter) DropNow(b []byte, dataTrack bool) string {
	if f == nil {
		return ""
	}
	later := f.later.Load()
	if f.excluded.len() == 0 && later == nil {
		return ""
	}
	reason := ""
	if dataTrack {
		handle, _ := BeginsFrame(b)
		f.mu.Lock()
		if f.excluded.has([]byte(f.tracks[handle].identity)) {
			reason = textegress.DroppedIdentity
		}
		f.mu.Unlock()
		if reason == "" && later != nil {
			reason = later.frame(handle)
		}
	} else {
		p, ok := peek(b)
		switch {
		case !ok || f.excluded.has(p.identity) || f.excluded.has(p.inner):
			reason = textegress.DroppedIdentity
		case later != nil:
			reason = later.judge(p)
		}
	}
	f.count(reason, len(b))
	return reason
}

// judge applies the lists to a packet.
func (f *Filter) judge(p peeked) string {
	if reason := f.identity(p); reason != "" || !f.byTopic {
		return reason
	}
	return f.topic(p)
}

// frame applies the lists to a frame of the data track with this handle.
func (f *Filter) frame(handle uint16) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, known := f.tracks[handle]; known {
		return t.reason
	}
	return textegress.DroppedTrackUnknown
}
