package merge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// record writes the merged record in the aligner's order. It drops duplicates, renumbers the epochs
// and restates each recorder's own events for the merged recording.
type record struct {
	write  func(segment.Frame) error
	al     *aligner
	names  [2]textegress.MergedRecording
	recs   [2]recorderState
	epochs map[inputEpoch]uint16
	next   uint16
	// outage is set while neither recorder is in the room.
	outage     bool
	numbers    map[string]*numbers
	people     map[string]bool // participant sids: true in the room, false gone
	lastEvents map[string]key  // the last event about a participant, or about the room
}

type inputEpoch struct {
	input int
	epoch uint16
}

// recorderState is the state of one recorder at the current position in the record.
type recorderState struct {
	joined   bool // at least once
	present  bool
	lost     bool   // in an outage, or ended before the session
	cause    string // of the outage
	since    int64  // start of the outage, by the recorder's own clock
	returned int64  // time of the last join, by the clock of input 0
	paired   bool   // both recorders have received the same packet since
	// the number of recorders still running: more than one if the input is itself merged
	runs int
}

func newRecord(al *aligner, names [2]textegress.MergedRecording,
	write func(segment.Frame) error,
) *record {
	r := &record{
		write: write, al: al, names: names, epochs: map[inputEpoch]uint16{},
		numbers: map[string]*numbers{},
		people:  map[string]bool{}, lastEvents: map[string]key{},
	}
	for i, n := range names {
		r.recs[i].runs = leaves(n)
	}
	return r
}

// leaves returns how many recorders made a recording.
func leaves(m textegress.MergedRecording) int {
	n := 0
	for _, part := range m.Merged {
		n += leaves(part)
	}
	return max(n, 1)
}

// add writes or drops the next frame.
func (r *record) add(i int, it *item) error {
	s := r.al.inputs[i]
	if it.match != nil && it.class != classParticipant {
		r.recs[0].paired, r.recs[1].paired = true, true
	}
	switch it.class {
	case classRecorder:
		return r.recorderEvent(i, it)
	case classParticipant:
		if !r.changes(it) {
			return nil
		}
		return r.frame(i, it.frame)
	case classNumbered:
		n := r.numbers[it.sid]
		if n == nil {
			n = &numbers{}
			r.numbers[it.sid] = n
		}
		switch n.add(it.seq) {
		case isWritten:
			s.duplicates++
			return nil
		case isUnknown:
			it.mark = true
		case isNew:
		}
	}
	if it.match == nil {
		s.only++
	}
	f := it.frame
	if f.PossibleDuplicate = it.mark; it.mark {
		s.marked++
	}
	return r.frame(i, f)
}

// changes reports whether an event about the room adds new information.
func (r *record) changes(it *item) bool {
	sid := it.event.ParticipantSID
	present, known := r.people[sid]
	switch it.event.Kind {
	case textegress.KindParticipantJoined:
		if sid == "" || known {
			return sid == ""
		}
		r.people[sid] = true
	case textegress.KindParticipantLeft:
		if known && !present {
			return false
		}
		r.people[sid] = false // sids are never reused
		delete(r.lastEvents, sid)
	default:
		if r.lastEvents[sid] == it.key {
			return false
		}
		r.lastEvents[sid] = it.key
	}
	return true
}

// frame writes a frame of input i with the merged epoch of the recorder's connection.
func (r *record) frame(i int, f segment.Frame) error {
	f.Epoch = r.epoch(i, f.Epoch)
	f.MonoNS = 0
	return r.write(f)
}

func (r *record) epoch(i int, e uint16) uint16 {
	if e == 0 {
		return 0
	}
	k := inputEpoch{i, e}
	n, ok := r.epochs[k]
	if !ok {
		if r.next < 1<<16-1 {
			r.next++
			r.names[i].Epochs = append(r.names[i].Epochs, int(r.next))
		}
		n = r.next
		r.epochs[k] = n
	}
	return n
}

// recorderEvent writes a recorder's event about itself, with the recorder's egress id.
func (r *record) recorderEvent(i int, it *item) error {
	ev, me := it.event, &r.recs[i]
	if ev.Kind == "" { // not a readable event
		return r.frame(i, it.frame)
	}
	if ev.EgressID == "" { // an event of an earlier merge already names its recorder
		ev.EgressID, ev.Instance = r.names[i].EgressID, r.names[i].Instance
	}
	switch ev.Kind {
	case textegress.KindJoined:
		me.joined, me.present, me.lost = true, true, false
		me.returned, me.paired = r.al.sortTime(i, it), false
		if err := r.event(i, it.frame, ev); err != nil || !r.outage {
			return err
		}
		r.outage = false
		return r.event(i, it.frame, segment.Event{Kind: textegress.KindOutageEnded})
	case textegress.KindOutageStarted:
		r.al.inputs[i].outages++
		me.present, me.lost, me.cause, me.since = false, true, ev.Cause, it.stated
		ev.Kind = textegress.KindRecorderAway
	case textegress.KindOutageEnded:
		ev.Kind = textegress.KindRecorderBack
	case textegress.KindRecordingEnded:
		if me.runs--; me.runs > 0 {
			break
		}
		if me.present && !sessionEnded(ev.Reason) {
			me.lost, me.cause, me.since = true, ev.Reason, it.stated
		}
		me.present = false
	case textegress.KindCorrupt:
		ev.Segment = r.names[i].EgressID + "/" + ev.Segment
	}
	if err := r.event(i, it.frame, ev); err != nil {
		return err
	}
	if ev.Kind == textegress.KindRecorderAway || ev.Kind == textegress.KindRecordingEnded &&
		me.lost && me.runs == 0 {
		return r.jointOutage(i, it)
	}
	return nil
}

// jointOutage writes an outage of both recorders if the other was not in the room either.
func (r *record) jointOutage(i int, it *item) error {
	me, other := r.recs[i], r.recs[1-i]
	switch {
	case r.outage:
		return nil
	case other.lost, !other.joined && me.joined:
		r.outage = true
		return r.outageEvent(i, it, me, other)
	case other.present && !other.paired && r.al.sortTime(i, it)-other.returned < tightTolerance:
		// By the clocks, the other recorder rejoined just before, but no common packet proves it.
		if err := r.outageEvent(i, it, me, other); err != nil {
			return err
		}
		f := it.frame
		f.UnixNS = max(me.since, other.returned+r.al.shift(i))
		return r.event(i, f, segment.Event{Kind: textegress.KindOutageEnded})
	}
	return nil
}

// outageEvent writes an outage of both recorders that starts when the later of the two left.
func (r *record) outageEvent(i int, it *item, me, other recorderState) error {
	cause := me.cause
	if other.cause != "" && other.cause != cause {
		cause += ", " + other.cause
	}
	return r.event(i, it.frame, segment.Event{
		Kind: textegress.KindOutageStarted, Cause: cause,
		SinceUnixNS: me.since,
	})
}

// shift returns the offset that converts a time by the clock of input 0 to the clock of input i.
func (al *aligner) shift(i int) int64 {
	if i == 1 {
		return al.offset
	}
	return 0
}

func (r *record) event(i int, like segment.Frame, ev segment.Event) error {
	b, err := json.Marshal(ev)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	like.Payload = b
	return r.frame(i, like)
}

// sessionEnded reports whether a recording ended because the session did.
func sessionEnded(reason string) bool {
	switch reason {
	case "room_deleted", "room_closed", "session_ended", "room_missing":
		return true
	}
	return false
}

// mergedEnd returns the end of the merged recording: that of the recording that saw the session
// end, otherwise that of the first COMPLETE recording.
func mergedEnd(a, b spool.Sealed) spool.Sealed {
	rank := func(s spool.Sealed) int {
		switch {
		case sessionEnded(s.Reason):
			return 0
		case s.Status == textegress.StatusComplete && !strings.HasPrefix(s.Reason, "service_"):
			return 1
		case s.Status == textegress.StatusComplete:
			return 2
		}
		return 3
	}
	out := a
	if rank(b) < rank(a) {
		out = b
	}
	out.Suspect = a.Suspect || b.Suspect
	return out
}
