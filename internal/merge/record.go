package merge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// record makes the merged record of the frames that the aligner puts in order: it drops what was
// written, renumbers the epochs and tells what each recorder's own events mean for both.
type record struct {
	write  func(segment.Frame) error
	al     *aligner
	names  [2]textegress.MergedRecording
	recs   [2]recorderState
	epochs map[sideEpoch]uint16
	next   uint16
	// outage is set while neither recorder is in the room.
	outage  bool
	numbers map[string]*numbers
	people  map[string]bool // participant sids: true in the room, false gone
	told    map[string]key  // what was told last of a participant or of the room
}

type sideEpoch struct {
	side  int
	epoch uint16
}

// recorderState is where one recorder is at this place of the record.
type recorderState struct {
	joined bool // ever
	here   bool
	lost   bool   // away by an outage, or for good although the session went on
	cause  string // of the outage
	since  int64  // its beginning, by the recorder's own clock
	back   int64  // when it came back last, by the clock of side 0
	paired bool   // something was heard by both since then
	// recorders that it stands for and that have not ended: more than one where it was merged
	// itself
	runs int
}

func newRecord(al *aligner, names [2]textegress.MergedRecording,
	write func(segment.Frame) error,
) *record {
	r := &record{
		write: write, al: al, names: names, epochs: map[sideEpoch]uint16{},
		numbers: map[string]*numbers{},
		people:  map[string]bool{}, told: map[string]key{},
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

// add writes the next frame, or drops it.
func (r *record) add(i int, it *item) error {
	s := r.al.sides[i]
	if it.twin != nil && it.class != classParticipant {
		r.recs[0].paired, r.recs[1].paired = true, true
	}
	switch it.class {
	case classOwn:
		return r.own(i, it)
	case classParticipant:
		if !r.news(it) {
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
	if it.twin == nil {
		s.only++
	}
	f := it.frame
	if f.PossibleDuplicate = it.mark; it.mark {
		s.marked++
	}
	return r.frame(i, f)
}

// news reports whether an event about the room tells something that was not told.
func (r *record) news(it *item) bool {
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
		r.people[sid] = false // a sid never comes again
		delete(r.told, sid)
	default:
		if r.told[sid] == it.key {
			return false
		}
		r.told[sid] = it.key
	}
	return true
}

// frame writes a frame of side i under the epoch that stands for that recorder's connection.
func (r *record) frame(i int, f segment.Frame) error {
	f.Epoch = r.epoch(i, f.Epoch)
	f.MonoNS = 0
	return r.write(f)
}

func (r *record) epoch(i int, e uint16) uint16 {
	if e == 0 {
		return 0
	}
	k := sideEpoch{i, e}
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

// own writes an event of one recorder about itself, with the recorder's name.
func (r *record) own(i int, it *item) error {
	ev, me := it.event, &r.recs[i]
	if ev.Kind == "" { // not readable as an event
		return r.frame(i, it.frame)
	}
	if ev.EgressID == "" { // of an earlier merge it has the name already
		ev.EgressID, ev.Instance = r.names[i].EgressID, r.names[i].Instance
	}
	switch ev.Kind {
	case textegress.KindJoined:
		me.joined, me.here, me.lost = true, true, false
		me.back, me.paired = r.al.place(i, it), false
		if err := r.event(i, it.frame, ev); err != nil || !r.outage {
			return err
		}
		r.outage = false
		return r.event(i, it.frame, segment.Event{Kind: textegress.KindOutageEnded})
	case textegress.KindOutageStarted:
		r.al.sides[i].outages++
		me.here, me.lost, me.cause, me.since = false, true, ev.Cause, it.stated
		ev.Kind = textegress.KindRecorderAway
	case textegress.KindOutageEnded:
		ev.Kind = textegress.KindRecorderBack
	case textegress.KindRecordingEnded:
		if me.runs--; me.runs > 0 {
			break
		}
		if me.here && !sessionEnded(ev.Reason) {
			me.lost, me.cause, me.since = true, ev.Reason, it.stated
		}
		me.here = false
	case textegress.KindCorrupt:
		ev.Segment = r.names[i].EgressID + "/" + ev.Segment
	}
	if err := r.event(i, it.frame, ev); err != nil {
		return err
	}
	if ev.Kind == textegress.KindRecorderAway || ev.Kind == textegress.KindRecordingEnded &&
		me.lost && me.runs == 0 {
		return r.lost(i, it)
	}
	return nil
}

// lost states an outage of both if the other recorder was not in the room either.
func (r *record) lost(i int, it *item) error {
	me, other := r.recs[i], r.recs[1-i]
	switch {
	case r.outage:
		return nil
	case other.lost, !other.joined && me.joined:
		r.outage = true
		return r.outageEvent(i, it, me, other)
	case other.here && !other.paired && r.al.place(i, it)-other.back < tight:
		// The other one came back, by the clocks, just before: that it was in time is not proved by
		// any packet that both have.
		if err := r.outageEvent(i, it, me, other); err != nil {
			return err
		}
		f := it.frame
		f.UnixNS = max(me.since, other.back+r.al.shift(i))
		return r.event(i, f, segment.Event{Kind: textegress.KindOutageEnded})
	}
	return nil
}

// outageEvent tells of an outage of both since the later of the two went away.
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

// shift is what has to be added to a time by the clock of side 0 to have it by that of side i.
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

// how decides how the merged recording ended: like the one that saw the end of the session, else
// like the first that is COMPLETE.
func how(a, b spool.Sealed) spool.Sealed {
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
