package erasure

import (
	"bytes"
	"context"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/segment"
)

// erasePlan describes the changes that remove one participant from a recording. Its edit method
// applies them frame by frame.
//
// A frame belongs to the participant if the server attributes it to the identity, or to a
// participant sid that had this identity. Transcriptions of the participant's speech, events about
// the participant's joining and leaving, and unreadable packets that contain the identity or a sid
// also belong to the participant. Payloads of other participants are not searched.
type erasePlan struct {
	frames int64 // frames to remove; 0 if none belongs to the participant
	lines  int64 // lines of events.jsonl that become tombstones
	// decrypted is the number of packets that the keys decrypted in the recording before the
	// removal.
	decrypted int64

	identity   string
	sids       map[string]bool
	tracks     decode.Tracks         // as of the last frame read
	tombstones map[uint64]*tombstone // by index of the removed frame
	// Values of the last frame that stays. Tombstones carry them, so that they do not reveal when
	// the participant was active.
	unixNS, monoNS int64
	epoch          uint16
}

// tombstone replaces a removed frame.
type tombstone struct {
	lines int64               // number of lines of the frame itself
	late  []segment.LateLines // lines of the participant that later frames complete
}

// newErasePlan finds the frames of a participant. o must hold the keys with which the recording was
// delivered.
func newErasePlan(ctx context.Context, src render.Source, o decode.Options, identity string) (
	*erasePlan, error,
) {
	p := &erasePlan{
		identity: identity, sids: map[string]bool{}, tombstones: map[uint64]*tombstone{},
	}
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("search for the participant: %w", err)
	}
	for f, err := range segment.Read(segments) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("search for the participant: %w", err)
		}
		p.collectSIDs(f)
	}
	if err := p.count(ctx, segments, o); err != nil {
		return nil, fmt.Errorf("search for the participant: %w", err)
	}
	p.tracks = decode.Tracks{}
	return p, nil
}

// collectSIDs collects the sids of the participant. Only the server's statements count: a packet of
// an agent may carry the identity of another participant and the agent's own sid.
func (p *erasePlan) collectSIDs(f segment.Frame) {
	if f.Type == segment.FrameState {
		state, _ := segment.DecodeState(f.Payload)
		for _, who := range state.Present {
			if who.Identity == p.identity && who.ParticipantSID != "" {
				p.sids[who.ParticipantSID] = true
			}
		}
		for _, who := range state.People {
			if who.Identity == p.identity && who.ParticipantSID != "" {
				p.sids[who.ParticipantSID] = true
			}
		}
		return
	}
	if ev := f.Event; ev != nil && ev.Kind != textegress.KindJoined && ev.Identity == p.identity &&
		ev.ParticipantSID != "" {
		p.sids[ev.ParticipantSID] = true
	}
}

// count reads the frames as an export does and counts, for each frame that is removed, the lines
// that are removed with it.
func (p *erasePlan) count(ctx context.Context, segments []segment.Source,
	o decode.Options,
) error {
	var last *tombstone // tombstone of the last removed frame
	var now *tombstone  // tombstone of the current frame, nil if it stays
	index := uint64(0)
	emit := func(l *decode.Line) error {
		switch {
		case now != nil:
			now.lines++
			p.lines++
		case last != nil && p.hasLine(l.Message):
			last.late = addLate(last.late, index)
			p.lines++
		}
		if ctx.Err() != nil { // one frame can represent many lines
			return context.Cause(ctx)
		}
		return nil
	}
	d := render.NewLineDecoder(o)
	defer d.Close() //nolint:errcheck // of no consequence
	for f, err := range segment.Read(segments) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		index = f.Index
		if now = nil; p.belongsTo(f) {
			now = &tombstone{}
			p.tombstones[f.Index] = now
			last = now
			p.frames++
		}
		if err := d.Frame(f, emit); err != nil {
			return err
		}
		if d.Decrypted() {
			p.decrypted++
		}
	}
	now, index = nil, 0
	return d.End(emit)
}

func addLate(late []segment.LateLines, index uint64) []segment.LateLines {
	if n := len(late); n > 0 && late[n-1].Index == index {
		late[n-1].Lines++
		return late
	}
	return append(late, segment.LateLines{Index: index, Lines: 1})
}

func (p *erasePlan) hasLine(m textegress.Message) bool {
	return m.Kind != textegress.KindForgotten && (m.Identity == p.identity && p.identity != "" ||
		p.sids[m.ParticipantSID])
}

// belongsTo reports whether a frame belongs to the participant.
func (p *erasePlan) belongsTo(f segment.Frame) bool {
	if f.Type == segment.FrameEvent {
		ev := f.Event
		if ev == nil {
			return p.mentions(f.Payload)
		}
		p.tracks.Event(f.Epoch, ev)
		switch ev.Kind {
		case textegress.KindJoined, textegress.KindForgotten:
			return false
		}
		return ev.Identity == p.identity || p.sids[ev.ParticipantSID]
	}
	if f.Type != segment.FramePacket {
		return p.inState(f)
	}
	if f.Channel == segment.ChannelDataTrack {
		if len(f.Payload) < 4 {
			return false
		}
		// The server may identify the publisher only after the first frames. Frames of an unknown
		// publisher are removed: too much rather than too little.
		t, known := p.tracks.Of(f)
		return !known || t.Identity == p.identity || p.sids[t.ParticipantSID]
	}
	identity, sid, about, ok := filter.Sender(f.Payload)
	if !ok {
		return p.mentions(f.Payload)
	}
	return identity == p.identity || about == p.identity || p.sids[sid]
}

// inState reports whether a recorder's state names the participant. Other data in the state is not
// searched, because [spool.Spool.Rewrite] empties every state.
func (p *erasePlan) inState(f segment.Frame) bool {
	state, err := segment.DecodeState(f.Payload)
	if f.Type != segment.FrameState || err != nil {
		return p.mentions(f.Payload)
	}
	for _, who := range state.Present {
		if who.Identity == p.identity || p.sids[who.ParticipantSID] {
			return true
		}
	}
	for _, who := range state.People {
		if who.Identity == p.identity || p.sids[who.ParticipantSID] {
			return true
		}
	}
	return false
}

// mentions reports whether an unreadable payload contains the identity or a sid. It errs on the
// side of removing too much.
func (p *erasePlan) mentions(payload []byte) bool {
	if bytes.Contains(payload, []byte(p.identity)) {
		return true
	}
	for sid := range p.sids {
		if bytes.Contains(payload, []byte(sid)) {
			return true
		}
	}
	return false
}

// edit implements [spool.Edit].
func (p *erasePlan) edit(f *segment.Frame) error {
	m := p.tombstones[f.Index]
	if m == nil {
		if f.Type != segment.FrameState {
			p.unixNS, p.monoNS, p.epoch = f.UnixNS, f.MonoNS, f.Epoch
		}
		return nil
	}
	payload, err := segment.EncodeEvent(segment.Event{
		Kind: textegress.KindForgotten, Lines: m.lines,
		Late: m.late,
	})
	if err != nil {
		return err
	}
	*f = segment.Frame{
		Type: segment.FrameEvent, Epoch: p.epoch, UnixNS: p.unixNS, MonoNS: p.monoNS,
		Payload: payload,
	}
	return nil
}
