package render

import (
	"bytes"
	"context"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/segment"
)

// Forgetting is the plan of removing one participant from a recording. [Forgetting.Edit] carries it
// out, frame by frame.
//
// A frame is the participant's where the server says so: by the identity, or by a participant sid
// that had it. So are transcriptions of what they said, what the record says about their coming and
// going, and packets that cannot be read but contain identity or sid. Payloads of others are not
// searched.
type Forgetting struct {
	Frames int64 // that are removed
	Lines  int64 // of events.jsonl that become tombstones
	// Decrypted is how many packets of the recording, before the removal, the keys decrypted.
	Decrypted int64

	identity string
	sids     map[string]bool
	tracks   decode.Tracks // as of the frame that was looked at last
	marks    map[uint64]*mark
	// Of the last frame that stays: a tombstone does not tell when the participant was active.
	unixNS, monoNS int64
	epoch          uint16
}

// mark is a frame that is removed.
type mark struct {
	lines int64
	late  []segment.LateLines
}

// PlanForget finds the frames of a participant. Frames is 0 where there are none. The keys
// are those with which the recording was delivered.
func PlanForget(ctx context.Context, src Source, o decode.Options, identity string) (*Forgetting,
	error,
) {
	p := &Forgetting{identity: identity, sids: map[string]bool{}, marks: map[uint64]*mark{}}
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the participant: %w", err)
	}
	for f, err := range segment.Read(segments) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("look for the participant: %w", err)
		}
		p.learn(f)
	}
	if err := p.count(ctx, segments, o); err != nil {
		return nil, fmt.Errorf("look for the participant: %w", err)
	}
	p.tracks = decode.Tracks{}
	return p, nil
}

// learn collects the sids of the participant. Only what the server told of them counts: packets of
// an agent may bear the identity of somebody else and the agent's own sid.
func (p *Forgetting) learn(f segment.Frame) {
	if f.Type != segment.FrameEvent {
		return
	}
	ev, err := segment.DecodeEvent(f.Payload)
	if err == nil && ev.Kind != textegress.KindJoined && ev.Identity == p.identity &&
		ev.ParticipantSID != "" {
		p.sids[ev.ParticipantSID] = true
	}
}

// count goes over the frames as an export does, and notes for each frame that goes how many lines
// go with it.
func (p *Forgetting) count(ctx context.Context, segments []segment.Source,
	o decode.Options,
) error {
	var last *mark // of the frame that was removed last
	var now *mark  // of the present frame, nil if it stays
	index := uint64(0)
	emit := func(l *decode.Line) error {
		switch {
		case now != nil:
			now.lines++
			p.Lines++
		case last != nil && p.isLine(l.Message):
			last.late = addLate(last.late, index)
			p.Lines++
		}
		if ctx.Err() != nil { // one frame can stand for many lines
			return context.Cause(ctx)
		}
		return nil
	}
	d := NewLineDecoder(o)
	defer d.Close() //nolint:errcheck // of no consequence
	for f, err := range segment.Read(segments) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		index = f.Index
		if now = nil; p.is(f) {
			now = &mark{}
			p.marks[f.Index] = now
			last = now
			p.Frames++
		}
		if err := d.Frame(f, emit); err != nil {
			return err
		}
		if d.Decrypted() {
			p.Decrypted++
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

func (p *Forgetting) isLine(m textegress.Message) bool {
	return m.Kind != textegress.KindForgotten && (m.Identity == p.identity && p.identity != "" ||
		p.sids[m.ParticipantSID])
}

// is reports whether a frame is the participant's.
func (p *Forgetting) is(f segment.Frame) bool {
	if f.Type == segment.FrameEvent {
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			return p.mentioned(f.Payload)
		}
		p.tracks.Event(f.Epoch, &ev)
		switch ev.Kind {
		case textegress.KindJoined, textegress.KindForgotten:
			return false
		}
		return ev.Identity == p.identity || p.sids[ev.ParticipantSID]
	}
	if f.Channel == segment.ChannelDataTrack {
		if len(f.Payload) < 4 {
			return false
		}
		// Whose they are can be told a moment after the first frames: rather too much than too
		// little.
		t, known := p.tracks.Of(f)
		return !known || t.Identity == p.identity || p.sids[t.ParticipantSID]
	}
	identity, sid, about, ok := filter.Sender(f.Payload)
	if !ok {
		return p.mentioned(f.Payload)
	}
	return identity == p.identity || about == p.identity || p.sids[sid]
}

// mentioned is for what cannot be read: rather too much than too little.
func (p *Forgetting) mentioned(payload []byte) bool {
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

// Edit implements [spool.Edit].
func (p *Forgetting) Edit(f *segment.Frame) error {
	m := p.marks[f.Index]
	if m == nil {
		p.unixNS, p.monoNS, p.epoch = f.UnixNS, f.MonoNS, f.Epoch
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
