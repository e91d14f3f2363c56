package decode

import (
	"cmp"
	"crypto/sha256"
	"io"
	"maps"
	"slices"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

const (
	// leaveGrace is how long packets of a connection may still arrive after the event that its
	// participant left or rejoined: events and data travel over different connections.
	leaveGrace = 5e9
	// returnGrace is how long after leaving a participant may rejoin and continue a stream.
	// LiveKit's SDKs try for less than a minute.
	returnGrace = 60e9
)

// remembered is the number of recently ended streams kept per sender, so that their late packets
// are not mistaken for the start of another stream.
const remembered = 64

// streams reassembles the streams of all senders.
type streams struct {
	limits   Limits
	store    store
	senders  map[senderKey]*sender
	latest   map[streamKey]*stream // the most recently opened stream that is still open
	people   people
	last     segment.Frame // without payload
	orders   uint64
	packets  uint64
	memory   int64
	inflated int64
	late     int64
	shift    int64         // total steps of the recorder's clock since the start, in ns
	flate    io.ReadCloser // reused by measure
}

func newStreams(l Limits, open func() (Scratch, error)) streams {
	return streams{
		limits: l, store: store{open: open}, senders: map[senderKey]*sender{},
		latest: map[streamKey]*stream{}, people: newPeople(),
	}
}

// senderKey identifies a sender: by the participant sid or, if there is none, by the identity.
type senderKey struct{ sid, identity string }

type sender struct {
	sid    string
	order  uint64
	open   map[string]*stream
	memory int64
	// All sequence numbers from first to last were received, so no packet of the sender is missing
	// between them, in any stream.
	first, last uint32
	ended       []ended // a ring
	next        int
}

// ended is the state kept for an ended stream.
type ended struct {
	id      [16]byte // first bytes of the id's SHA-256
	lastSeq uint32
	cut     bool // ended by the decoder; later packets still belong to it
}

func (s *streams) sender(p *packet) *sender {
	identity, sid := p.sender()
	key := senderKey{sid: sid}
	if sid == "" {
		key.identity = identity
	}
	snd := s.senders[key]
	if snd == nil {
		s.orders++
		snd = &sender{sid: sid, order: s.orders, open: map[string]*stream{}}
		s.senders[key] = snd
	}
	return snd
}

// observe records a sequence number; 0 means unsequenced.
func (snd *sender) observe(seq uint32) {
	switch {
	case seq == 0 || seq <= snd.last:
	case seq == snd.last+1 && snd.last != 0:
		snd.last = seq
	default:
		snd.first, snd.last = seq, seq
	}
}

// covers reports whether every packet of the sender between two sequence numbers was received.
func (snd *sender) covers(from, to uint32) bool {
	return from != 0 && from <= to && snd.first <= from && to <= snd.last
}

func (snd *sender) find(id string) *ended {
	sum := idSum(id)
	for i := range snd.ended {
		// At most one entry has this id, see remember.
		if snd.ended[i].id == sum {
			return &snd.ended[i]
		}
	}
	return nil
}

func (snd *sender) remember(e ended, id string) {
	e.id = idSum(id)
	if old := snd.find(id); old != nil {
		*old = e
		return
	}
	if len(snd.ended) < remembered {
		snd.ended = append(snd.ended, e)
		return
	}
	snd.ended[snd.next] = e
	snd.next = (snd.next + 1) % remembered
}

func idSum(id string) [16]byte {
	s := sha256.Sum256([]byte(id))
	return [16]byte(s[:16])
}

// advance sets the time to that of a frame, and ends the streams of participants that have been
// away long enough.
func (s *streams) advance(f segment.Frame, emit func(*Line) error) error {
	f.Payload, f.PossibleDuplicate = nil, false
	s.last = f
	now := s.now(f)
	for sid, ok := s.people.nextGone(now); ok; sid, ok = s.people.nextGone(now) {
		key := senderKey{sid: sid}
		snd := s.senders[key]
		if snd == nil {
			continue
		}
		if err := s.endAll(snd, emit); err != nil {
			return err
		}
		delete(s.senders, key)
	}
	return nil
}

// now returns the time of a frame by the clock of the first frame.
func (s *streams) now(f segment.Frame) int64 { return f.UnixNS - s.shift }

// clockStepped records a step of the recorder's clock. It ignores steps in a merged recording,
// where the times are by several clocks anyway.
func (s *streams) clockStepped(e *textegress.Event) {
	if e != nil && e.EgressID == "" {
		s.shift += e.OffsetNS
	}
}

// end ends all streams in the order in which they started.
func (s *streams) end(emit func(*Line) error) error {
	var open []*stream
	for _, snd := range s.senders {
		for _, st := range snd.open {
			open = append(open, st)
		}
	}
	return s.endEach(open, func(st *stream) string {
		if s.people.members[st.sender.sid].left {
			return textegress.StreamSenderLeft
		}
		return textegress.StreamRecordingEnded
	}, emit)
}

func (s *streams) endAll(snd *sender, emit func(*Line) error) error {
	var open []*stream
	for _, st := range snd.open {
		open = append(open, st)
	}
	return s.endEach(open, func(*stream) string { return textegress.StreamSenderLeft }, emit)
}

func (s *streams) endEach(open []*stream, why func(*stream) string, emit func(*Line) error) error {
	slices.SortFunc(open, func(a, b *stream) int { return cmp.Compare(a.order, b.order) })
	for _, st := range open {
		if err := s.finish(st, why(st), nil, emit); err != nil {
			return err
		}
	}
	return nil
}

// observe records a packet that belongs to no stream.
func (s *streams) observe(p *packet) {
	if p.seq() == 0 {
		return
	}
	snd := s.sender(p)
	snd.observe(p.seq())
	if p.GetEncryptedPacket() != nil && p.seq() == snd.last {
		snd.first = snd.last + 1 // it may have been part of a stream
	}
}

// OpenStream describes a stream that has begun and not ended.
type OpenStream struct {
	Identity, Topic, ID, Name string
	StartedUnixNS             int64
	Size                      int64  // bytes received so far
	Total                     uint64 // according to the header; 0: unknown
}

// Open returns the open streams in the order in which they began.
func (d *Decoder) Open() []OpenStream {
	var open []*stream
	for _, snd := range d.streams.senders {
		open = slices.AppendSeq(open, maps.Values(snd.open))
	}
	slices.SortFunc(open, func(a, b *stream) int { return cmp.Compare(a.order, b.order) })
	var list []OpenStream
	for _, st := range open {
		list = append(list, OpenStream{
			Identity: st.identity, Topic: st.header.GetTopic(), ID: st.id,
			Name: st.header.GetByteHeader().GetName(), StartedUnixNS: st.startedNS,
			Size: st.size, Total: st.header.GetTotalLength(),
		})
	}
	return list
}

// packet adds a packet of a stream.
func (s *streams) packet(p *packet, emit func(*Line) error) error {
	s.packets++
	snd := s.sender(p)
	snd.observe(p.seq())
	var err error
	switch v := p.Value.(type) {
	case *livekit.DataPacket_StreamHeader:
		err = s.header(snd, p, v.StreamHeader, emit)
	case *livekit.DataPacket_StreamChunk:
		err = s.chunk(snd, p, v.StreamChunk)
	case *livekit.DataPacket_StreamTrailer:
		err = s.trailer(snd, p, v.StreamTrailer, emit)
	}
	if err != nil || s.memory <= s.limits.Memory {
		return err
	}
	return s.evict(emit)
}

func (s *streams) begin(snd *sender, id string, p *packet) *stream {
	s.orders++
	st := &stream{
		sender: snd, id: id, order: s.orders, rec: record{store: &s.store},
		startedNS:    p.frame.UnixNS,
		duplicate:    p.frame.PossibleDuplicate,
		reliable:     reliable(p.DataPacket, p.frame.Channel),
		destinations: p.GetDestinationIdentities(), encryption: p.encryption,
	}
	st.identity, st.sid = p.sender()
	snd.open[id] = st
	s.latest[streamKey{st.identity, id}] = st
	s.account(st)
	return st
}

// account updates the memory accounted to a stream.
func (s *streams) account(st *stream) {
	d := st.cost() - st.memory
	st.memory += d
	st.sender.memory += d
	s.memory += d
	st.active = s.packets
}

func (s *streams) header(snd *sender, p *packet, h *livekit.DataStream_Header,
	emit func(*Line) error,
) error {
	id, sum, seq := h.GetStreamId(), headerSumOf(h), p.seq()
	st := snd.open[id]
	reused := false
	switch e := snd.find(id); {
	case st != nil && st.header != nil && st.headerSum == sum && st.headerSeq == seq:
		st.ignored++
		return nil
	case st != nil && st.header != nil && seq != 0 && seq < st.headerSeq, e != nil && seq != 0 &&
		seq <= e.lastSeq:
		s.late++ // the header of an earlier stream
		return nil
	case st != nil && st.header != nil:
		st.fail(textegress.StreamIDReused)
		if err := s.finish(st, "", nil, emit); err != nil {
			return err
		}
		st, reused = nil, true
	case st != nil && (h.InlineContent != nil || seq != 0 && st.minSeq != 0 && st.minSeq < seq):
		// These chunks belong to an earlier stream.
		if err := s.finish(st, "", nil, emit); err != nil {
			return err
		}
		st, reused = nil, true
	case st != nil && (seq == 0 || st.minSeq == 0):
		st.fail(textegress.StreamIDReused) // these chunks may belong to an earlier stream
	case st == nil:
		reused = e != nil
	}
	if st == nil {
		st = s.begin(snd, id, p)
	}
	if (st.encryption == nil) != (p.encryption == nil) {
		st.fail(textegress.StreamEncryptionMixed)
	}
	st.header, st.headerSum, st.headerSeq, st.reused = h, sum, seq, reused
	st.sequence = seq
	st.maxSeq = max(st.maxSeq, seq)
	if h.InlineContent != nil {
		st.rec.head, st.rec.size = h.InlineContent, int64(len(h.InlineContent))
		st.size = st.rec.size
		st.dense = []chunk{{size: uint32(len(h.InlineContent))}}
		h.InlineContent = nil
		return s.finish(st, "", &end{inline: true}, emit)
	}
	s.account(st)
	return nil
}

// endedBefore reports whether a packet with a stream id that is not open belongs to a stream that
// has ended.
func (snd *sender) endedBefore(id string, seq uint32) bool {
	e := snd.find(id)
	return e != nil && (e.cut || seq == 0 || seq <= e.lastSeq)
}

// belongs reports whether a chunk or trailer can be part of the stream, and records reasons why the
// stream cannot be complete.
func (st *stream) belongs(p *packet) bool {
	if st.header != nil {
		if p.seq() != 0 && p.seq() < st.headerSeq {
			return false // belongs to an earlier stream with this id
		}
		if st.reused && (p.seq() == 0 || st.headerSeq == 0) {
			st.fail(textegress.StreamIDReused)
		}
	}
	if (st.encryption == nil) != (p.encryption == nil) {
		st.fail(textegress.StreamEncryptionMixed)
	}
	return true
}

// of returns the stream of a chunk or a trailer, or nil if the packet is late. It starts a stream
// if the header is missing.
func (s *streams) of(snd *sender, id string, p *packet) *stream {
	st := snd.open[id]
	if st == nil {
		if snd.endedBefore(id, p.seq()) {
			s.late++
			return nil
		}
		if st = s.resume(snd, id, p); st == nil {
			st = s.begin(snd, id, p)
		}
	}
	if !st.belongs(p) {
		s.late++
		return nil
	}
	return st
}

func (s *streams) chunk(snd *sender, p *packet, c *livekit.DataStream_Chunk) error {
	st := s.of(snd, c.GetStreamId(), p)
	if st == nil {
		return nil
	}
	err := st.add(c, p.seq())
	s.account(st)
	return err
}

func (s *streams) trailer(snd *sender, p *packet, t *livekit.DataStream_Trailer,
	emit func(*Line) error,
) error {
	st := s.of(snd, t.GetStreamId(), p)
	if st == nil {
		return nil
	}
	st.maxSeq = max(st.maxSeq, p.seq())
	return s.finish(st, "", &end{trailer: t, seq: p.seq()}, emit)
}

// evict ends streams of the senders that occupy most memory until an eighth of the limit is free,
// so that it does not run for every packet.
func (s *streams) evict(emit func(*Line) error) error {
	for s.memory > s.limits.Memory/8*7 {
		var most *sender
		for _, snd := range s.senders {
			if len(snd.open) > 0 && (most == nil || snd.memory > most.memory ||
				snd.memory == most.memory && snd.order < most.order) {
				most = snd
			}
		}
		if most == nil {
			return nil
		}
		var open []*stream
		for _, st := range most.open {
			open = append(open, st)
		}
		slices.SortFunc(open, func(a, b *stream) int {
			return cmp.Or(-cmp.Compare(a.memory, b.memory), cmp.Compare(a.active, b.active),
				cmp.Compare(a.order, b.order))
		})
		for _, st := range open {
			if s.memory <= s.limits.Memory/8*7 {
				break
			}
			if err := s.finish(st, textegress.StreamMemoryLimit, nil, emit); err != nil {
				return err
			}
		}
	}
	return nil
}
