// Package filter decides what may be recorded, before anything reaches the disk. The rules are
// allow and deny lists of topics and identities.
//
// The guarantee: if [Filter.Packet] returns "" for a packet, the rules allow its sender and its
// topic, as stated by the server. The filter drops a packet whose sender or topic is unknown. It
// does not search the payload.
package filter

import (
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/wire"
)

// Topics for kinds of packet without a topic. They are the topics of the streams that newer clients
// use for the same purpose, so one list entry covers both.
const (
	topicChat          = "lk.chat"
	topicTranscription = "lk.transcription"
	topicRPCRequest    = "lk.rpc_request"
	topicRPCResponse   = "lk.rpc_response"
)

// legacyChat lists the topics of the user packets in which LiveKit's components repeat chat
// messages and edits for older clients. Rules for chat apply to them too.
var legacyChat = []string{"lk-chat-topic", "lk-chat-update-topic"}

// maxStreams bounds the table of streams with a known topic. Beyond it the filter removes the
// oldest entries and drops later packets of those streams. An entry takes at most a few hundred
// bytes, whatever the length of the stream id.
const maxStreams = 8192

// Filter applies the rules of one recording. Its methods are safe for concurrent use.
type Filter struct {
	rules      textegress.SelectionRules // without the excluded participants
	roster     *roster                   // nil: attributes exclude nobody
	topics     lists
	identities lists
	byTopic    bool // there are rules for topics
	byIdentity bool
	excluded   exclusions
	// later are rules that came into force while the session runs, beside rules; nil: none. What
	// rules allow is judged by them when it is written, see [Filter.DropNow].
	later atomic.Pointer[Filter]
	// isLater: this filter is the later of another one. A packet may be judged twice by it.
	isLater bool

	mu      sync.Mutex // guards the fields below
	secret  []byte     // for the hashes of streamKey
	hash    hash.Hash
	sum     [sha256.Size]byte // scratch space
	streams map[streamKey]entry
	order   []streamKey // ring of the keys of streams, oldest at next
	next    int
	tracks  map[uint16]track // by handle
	counts  map[string]*textegress.Dropped
}

// streamKey is a keyed hash of sender and stream id. Senders choose the id without access to the
// key, so they cannot produce a collision.
type streamKey [16]byte

// track is a data track: the reason to drop its frames, or "" to keep them while its publisher is
// not excluded.
type track struct{ participantSID, identity, name, reason string }

type entry struct {
	denied bool
	slot   int // index in Filter.order
}

// New returns the filter for the rules. The error names the invalid list.
func New(rules textegress.SelectionRules) (*Filter, error) {
	f := &Filter{
		rules: rules, secret: []byte(rand.Text()), hash: sha256.New(),
		streams: map[streamKey]entry{},
		tracks:  map[uint16]track{}, counts: map[string]*textegress.Dropped{},
	}
	var err error
	if f.topics, err = newLists("topics", rules.TopicsAllow, rules.TopicsDeny); err != nil {
		return nil, err
	}
	if f.identities, err = newLists("identities", rules.IdentitiesAllow,
		rules.IdentitiesDeny); err != nil {
		return nil, err
	}
	f.byTopic, f.byIdentity = f.topics.inForce(), f.identities.inForce()
	if rules.ExcludeByAttribute {
		f.roster = newRoster()
	}
	for _, reason := range []string{
		textegress.DroppedIdentity, textegress.DroppedTopic, textegress.DroppedStreamUnknown,
		textegress.DroppedTrackUnknown, textegress.DroppedSenderUnknown,
		textegress.DroppedEncrypted, textegress.DroppedKindUnknown, textegress.DroppedMalformed,
	} {
		f.counts[reason] = &textegress.Dropped{Reason: reason}
	}
	return f, nil
}

// Rules returns the rules of the filter, or the zero value for a nil filter.
func (f *Filter) Rules() textegress.SelectionRules {
	if f == nil {
		return textegress.SelectionRules{}
	}
	rules := f.rules
	if l := f.later.Load(); l != nil {
		rules = f.narrowed(l)
	}
	rules.Excluded = f.excluded.len()
	return rules
}

// idle reports whether the rules allow everything.
func (f *Filter) idle() bool {
	return !f.byTopic && !f.byIdentity && f.roster == nil && f.excluded.len() == 0
}

// Identity reports whether events about a participant may be recorded. A nil filter allows all.
func (f *Filter) Identity(identity string) bool {
	return f == nil || !f.denies([]byte(identity))
}

// denies reports whether the lists of identities, or an exclusion, concern an identity.
func (f *Filter) denies(identity []byte) bool {
	return f.byIdentity && f.identities.denies(identity) || f.deniesLater(identity)
}

// Packet returns "" if a raw livekit.DataPacket may be recorded, [Held] if that is not known yet,
// otherwise the reason to drop it. It counts dropped packets and allocates only at the start of a
// stream. A nil filter allows all.
func (f *Filter) Packet(b []byte) string {
	if f == nil || f.idle() {
		return ""
	}
	p, ok := peek(b)
	if !ok {
		f.count(textegress.DroppedMalformed, len(b))
		return textegress.DroppedMalformed
	}
	reason := ""
	if f.roster != nil {
		f.mu.Lock()
		reason = f.roster.verdict(p)
		f.mu.Unlock()
	}
	// Lists are final, so a packet that they exclude need not be held.
	if listed := f.identity(p); listed != "" {
		reason = listed
	}
	if reason == "" && f.byTopic {
		reason = f.topic(p)
	}
	if reason != Held {
		f.count(reason, len(b))
	}
	return reason
}

// Frame is like Packet, for a frame of the data track with this handle.
func (f *Filter) Frame(handle uint16, size int) string {
	if f == nil || f.idle() {
		return ""
	}
	f.mu.Lock()
	t, known := f.tracks[handle]
	reason := t.reason
	switch {
	case !known:
		reason = textegress.DroppedTrackUnknown
	case reason == "" && f.excluded.has([]byte(t.identity)):
		reason = textegress.DroppedIdentity
	case reason == "" && f.roster != nil:
		reason = f.roster.publisher(t.participantSID)
	}
	f.mu.Unlock()
	f.count(reason, size)
	return reason
}

// Track records the publisher and name of the data track with this handle, as stated by the server.
// The name is the track's topic, or "" while it is unknown. Track reports whether the track may be
// recorded. A later call for the same handle replaces the track.
func (f *Filter) Track(handle uint16, participantSID, identity, name string) bool {
	if f == nil {
		return true
	}
	reason := ""
	switch {
	case f.denies([]byte(identity)):
		reason = textegress.DroppedIdentity
	case f.byTopic && name == "": // every track has a name; this one is not known yet
		reason = textegress.DroppedTrackUnknown
	case f.byTopic && f.topics.denies([]byte(name)):
		reason = textegress.DroppedTopic
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	later := f.later.Load().Track(handle, participantSID, identity, name) // while mu is held
	if reason == "" && f.roster != nil {
		// Frames of an unannounced publisher are not held: without the event that the caller now
		// leaves out, nothing would say whose they are.
		if verdict := f.roster.publisher(participantSID); verdict != "" {
			f.tracks[handle] = track{participantSID, identity, name, verdict}
			return false
		}
	}
	f.tracks[handle] = track{participantSID, identity, name, reason}
	return reason == "" && later
}

// ForgetTracks removes all handles. Handles are valid for one connection only.
func (f *Filter) ForgetTracks() {
	if f == nil {
		return
	}
	f.mu.Lock()
	clear(f.tracks)
	f.later.Load().ForgetTracks()
	f.mu.Unlock()
}

// Learn reads a packet that an earlier process recorded, under these or other rules, so that the
// filter can continue its stream. It counts nothing.
func (f *Filter) Learn(b []byte) {
	if f == nil || !f.byTopic {
		return
	}
	if p, ok := peek(b); ok && f.identity(p) == "" {
		f.topic(p)
	}
}

// Take returns the counts of packets dropped since the last call, sorted by reason, or nil if there
// are none.
func (f *Filter) Take() []textegress.Dropped {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []textegress.Dropped
	for _, d := range f.counts {
		if d.Packets > 0 {
			out = append(out, *d)
			d.Packets, d.Bytes = 0, 0
		}
	}
	slices.SortFunc(out, func(a, b textegress.Dropped) int {
		return strings.Compare(a.Reason,
			b.Reason)
	})
	return out
}

// Return adds back counts that Take returned and that could not be written.
func (f *Filter) Return(dropped []textegress.Dropped) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range dropped {
		f.counts[d.Reason].Packets += d.Packets
		f.counts[d.Reason].Bytes += d.Bytes
	}
}

func (f *Filter) count(reason string, size int) {
	if reason == "" {
		return
	}
	f.mu.Lock()
	c := f.counts[reason]
	c.Packets++
	c.Bytes += int64(size)
	f.mu.Unlock()
}

// identity applies the lists of identities. A packet may name two participants: the sender and, in
// a transcription, the speaker.
func (f *Filter) identity(p peeked) string {
	switch {
	case !f.byIdentity && f.excluded.len() == 0:
		return ""
	case len(p.inner) > 0 && f.denies(p.inner):
		return textegress.DroppedIdentity
	case (len(p.identity) > 0 || len(p.inner) == 0 || p.value != wire.User) &&
		f.denies(p.identity):
		return textegress.DroppedIdentity
	}
	return ""
}

// topic applies the rules for topics.
func (f *Filter) topic(p peeked) string {
	switch p.value {
	case wire.StreamHeader, wire.StreamChunk, wire.StreamTrailer:
		return f.stream(p)
	case wire.Encrypted:
		if f.rules.EncryptedKept {
			return ""
		}
		return textegress.DroppedEncrypted
	case 0:
		return textegress.DroppedMalformed
	}
	var denied bool
	switch {
	case p.value == wire.User:
		denied = f.deniesUser(p.topic)
	case p.value == wire.Transcription:
		denied = f.topics.denies([]byte(topicTranscription))
	case p.value == wire.Chat:
		denied = f.topics.denies([]byte(topicChat))
	case p.value == wire.RPCRequest, p.value == wire.RPCAck:
		denied = f.topics.denies([]byte(topicRPCRequest))
	case p.value == wire.RPCResponse:
		denied = f.topics.denies([]byte(topicRPCResponse))
	case p.value >= wire.FirstUnknown:
		return textegress.DroppedKindUnknown
	default: // sip_dtmf, metrics and speaker have the empty topic
		denied = f.topics.denies(nil)
	}
	if denied {
		return textegress.DroppedTopic
	}
	return ""
}

// deniesUser treats a legacy copy of a chat message as chat.
func (f *Filter) deniesUser(topic []byte) bool {
	for _, l := range legacyChat {
		if string(topic) != l {
			continue
		}
		if f.topics.deny.has(topic) || f.topics.deny.has([]byte(topicChat)) {
			return true
		}
		return !f.topics.allow.empty() && !f.topics.allow.has(topic) &&
			!f.topics.allow.has([]byte(topicChat))
	}
	return f.topics.denies(topic)
}

// stream judges a header by its topic, and chunks and trailer by their header. A denied stream id
// stays denied until its trailer: a second header with another topic does not allow the rest of the
// first stream.
func (f *Filter) stream(p peeked) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := f.key(p)
	e, known := f.streams[key]
	if p.value == wire.StreamHeader {
		denied := e.denied || f.topics.denies(p.topic)
		f.remember(key, entry{denied: denied, slot: e.slot}, known)
		if denied {
			return textegress.DroppedTopic
		}
		return ""
	}
	if p.value == wire.StreamTrailer && known && !f.isLater {
		delete(f.streams, key)
		f.order[e.slot] = streamKey{}
	}
	switch {
	case !known:
		return textegress.DroppedStreamUnknown
	case e.denied:
		return textegress.DroppedTopic
	}
	return ""
}

// key identifies a stream by the sender's identity and the stream id, because a participant that
// rejoins continues a stream under another sid. The caller holds mu.
func (f *Filter) key(p peeked) streamKey {
	if len(p.identity) > 0 {
		p.sid = nil
	}
	f.hash.Reset()
	f.hash.Write(f.secret)
	for _, part := range [3][]byte{p.sid, p.identity, p.stream} {
		f.hash.Write(protowire.AppendVarint(f.sum[:0], uint64(len(part))))
		f.hash.Write(part)
	}
	return streamKey(f.hash.Sum(f.sum[:0]))
}

// remember stores an entry and replaces the oldest one if the table is full. The caller holds mu.
func (f *Filter) remember(key streamKey, e entry, known bool) {
	if !known {
		if len(f.order) < maxStreams {
			f.order = append(f.order, key)
			e.slot = len(f.order) - 1
		} else {
			delete(f.streams, f.order[f.next])
			f.order[f.next] = key
			e.slot = f.next
			f.next = (f.next + 1) % maxStreams
		}
	}
	f.streams[key] = e
}
