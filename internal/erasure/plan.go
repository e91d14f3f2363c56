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

// erasePlan says what removing one participant from a recording changes. Its edit carries it out,
// frame by frame.
//
// A frame is the participant's if the server says so: by the identity, or by a participant sid that
// had it. So are transcriptions of their speech, the events about their joining and leaving, and
// unreadable packets that contain the identity or a sid. Payloads of others are not searched.
type erasePlan struct {
	frames int64 // that are removed, 0 if nothing in the recording is the participant's
	lines  int64 // of events.jsonl that become tombstones
	// decrypted is how many packets of the recording, before the removal, the keys decrypted.
	decrypted int64

	identity   string
	sids       map[string]bool
	tracks     decode.Tracks         // as of the last frame read
	tombstones map[uint64]*tombstone // by the index of the frame that is removed
	// Of the last frame that stays: a tombstone does not tell when the participant was active.
	unixNS, monoNS int64
	epoch          uint16
}

// tombstone takes the place of a frame that is removed.
type tombstone struct {
	lines int64               // of the frame itself
	late  []segment.LateLines // of the participant, which later frames complete
}

// newErasePlan finds the frames of a participant. The keys are those with which the recording was
// delivered.
func newErasePlan(ctx context.Context, src render.Source, o decode.Options, identity string) (
	*erasePlan, error,
) {
	p := &erasePlan{
		identity: identity, sids: map[string]bool{}, tombstones: map[uint64]*tombstone{},
	}
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the participant: %w", err)
	}
	for f, err := range segment.Read(segments) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("look for the participant: %w", err)
		}
		p.collectSIDs(f)
	}
	if err := p.count(ctx, segments, o); err != nil {
		return nil, fmt.Errorf("look for the participant: %w", err)
	}
	p.tracks = decode.Tracks{}
	return p, nil
}

// collectSIDs collects the sids of the participant. Only the server's statements count: packets of
// an agent may bear the identity of somebody else and the agent's own sid.
func (p *erasePlan) collectSIDs(f segment.Frame) {
	if f.Type == segment.FrameState {
		state, _ := segment.DecodeState(f.Payload)
		for _, who := range state.Present {
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
	var last *tombstone // of the frame that was removed last
	var now *tombstone  // of the current frame, nil if it stays
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

// belongsTo reports whether a frame is the participant's.
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
		// The server may say whose they are a moment after the first frames: remove too much
		// rather than too little.
		t, known := p.tracks.Of(f)
		return !known || t.Identity == p.identity || p.sids[t.ParticipantSID]
	}
	identity, sid, about, ok := filter.Sender(f.Payload)
	if !ok {
		return p.mentions(f.Payload)
	}
	return identity == p.identity || about == p.identity || p.sids[sid]
}

// inState reports whether a recorder's state names the participant. [spool.Spool.Rewrite] empties
// every state, so that nothing else in it has to be looked for.
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
	return false
}

// mentions reports whether something that cannot be read contains the identity or a sid. It removes
// too much rather than too little.
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
