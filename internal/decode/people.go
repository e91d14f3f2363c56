package decode

import (
	"cmp"
	"slices"
)

// people tracks the participants in the room, according to the record.
type people struct {
	members map[string]member // by sid, until nextGone returns it
	here    map[string]int    // number of connections in the room, by identity
	// leaving holds the connections that left, in order, while their identity may still return;
	// away holds the same connections by identity. replaced holds the connections whose identity
	// has returned.
	leaving, replaced []departure
	away              map[string][]string
}

type member struct {
	identity string // "" if not in the record
	left     bool
}

type departure struct {
	sid, identity string
	at            int64
}

func newPeople() people {
	return people{members: map[string]member{}, here: map[string]int{}, away: map[string][]string{}}
}

// joined records a participant_joined.
func (p *people) joined(sid, identity string, ns int64) {
	if sid == "" || identity == "" {
		return
	}
	if _, known := p.members[sid]; known {
		return
	}
	p.members[sid] = member{identity: identity}
	p.here[identity]++
	for _, earlier := range p.away[identity] {
		p.replaced = append(p.replaced, departure{earlier, identity, ns + leaveGrace})
	}
	delete(p.away, identity)
}

// left records a participant_left.
func (p *people) left(sid string, ns int64) {
	m := p.members[sid]
	if sid == "" || m.left {
		return
	}
	p.members[sid] = member{m.identity, true}
	if m.identity != "" {
		if p.here[m.identity]--; p.here[m.identity] == 0 {
			delete(p.here, m.identity)
		}
	}
	if p.here[m.identity] > 0 {
		p.replaced = append(p.replaced, departure{sid, m.identity, ns + leaveGrace})
		return
	}
	p.leaving = append(p.leaving, departure{sid, m.identity, ns + returnGrace})
	p.away[m.identity] = append(p.away[m.identity], sid)
}

// nextGone returns the next sid that will send no more packets.
func (p *people) nextGone(ns int64) (sid string, ok bool) {
	for _, queue := range []*[]departure{&p.replaced, &p.leaving} {
		if q := *queue; len(q) > 0 && ns >= q[0].at {
			*queue = q[1:]
			d := q[0]
			delete(p.members, d.sid)
			if p.away[d.identity] = without(p.away[d.identity],
				d.sid); len(p.away[d.identity]) == 0 {
				delete(p.away, d.identity)
			}
			return d.sid, true
		}
	}
	return "", false
}

func without(sids []string, sid string) []string {
	return slices.DeleteFunc(sids, func(s string) bool { return s == sid })
}

// streamKey identifies a stream across the connections of its sender.
type streamKey struct{ identity, id string }

// resume returns the stream that a packet from a later connection of its sender continues, or nil
// if there is none. It moves the stream to that connection. A client that rejoins after a failed
// connection continues to send its streams.
func (s *streams) resume(snd *sender, id string, p *packet) *stream {
	identity, sid := p.sender()
	if identity == "" || sid == "" {
		return nil // the sender is unknown
	}
	st := s.latest[streamKey{identity, id}]
	if st == nil || st.sender.sid == "" || st.sender.order >= snd.order ||
		!s.people.same(st.sender.sid, sid, identity) {
		return nil
	}
	old := st.sender
	delete(old.open, id)
	old.remember(ended{lastSeq: st.maxSeq}, id)
	old.memory -= st.memory
	snd.memory += st.memory
	snd.open[id] = st
	st.sender = snd
	st.continuedBy = append(st.continuedBy, sid)
	// The sequence numbers of the two connections are unrelated.
	st.headerSeq, st.minSeq, st.chunkMax, st.maxSeq = 0, 0, 0, 0
	return st
}

// same reports whether two connections whose packets contain the same identity belong to one
// participant, according to the record. The packets of an agent may contain the identity of the
// participant on whose behalf it sends.
func (p *people) same(a, b, identity string) bool {
	told := func(sid string) string {
		return cmp.Or(p.members[sid].identity, identity)
	}
	return told(a) == told(b)
}
