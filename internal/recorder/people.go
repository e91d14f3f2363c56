package recorder

import (
	"maps"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/segment"
)

const (
	// maxPeople bounds the participants with counts of their own. Beyond it, those who left longest
	// ago give way.
	maxPeople = 2000
	// Recent counts are kept in recentParts intervals of recentPart each.
	recentParts = 30
	recentPart  = 10 * time.Second
	// LiveKit announces participants up to 3 s after their first packets, and hidden ones never.
	// Until unannounced has passed since their last message, they count as present.
	unannounced = time.Minute
)

// Person is a participant of the session as far as the recorder has seen. Everything in it is
// personal data.
type Person struct {
	Identity string
	SID      string // of the last connection
	Name     string // as the server last reported it
	// Present is true while the participant has a connection to the room, and for a minute after
	// each message of a participant whom the server has not announced. Since is the time at
	// which the recorder learned of the last presence, LeftAt of its end; zero: unknown, or not
	// yet.
	Present       bool
	Since, LeftAt time.Time
	// Messages counts packets that begin a message: not the chunks of a stream. A packet of an
	// encrypted room counts as one message, whatever it contains.
	Messages      uint64
	LastMessageAt time.Time
	Recent        [recentParts]uint32 // messages in the last 30 intervals of 10 s, oldest first
}

// People returns the participants, sorted by identity. Those who are excluded are not among them,
// and at most 2000 are, see [Snapshot.MorePeople].
func (r *Recorder) People() []Person { return r.rec.listPeople(time.Now()) }

// Allows reports whether the rules and the participant's attributes allow that a participant is
// recorded.
func (r *Recorder) Allows(identity string) bool { return r.rec.filter.Allows(identity) }

func (r *record) listPeople(now time.Time) []Person {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Person
	for _, identity := range slices.Sorted(maps.Keys(r.state.people.by)) {
		if !r.filter.Allows(identity) {
			continue
		}
		p := r.state.people.by[identity]
		out = append(out, Person{
			Identity: identity, SID: p.sid, Name: p.name, Present: p.present(now),
			Since: timeOf(p.sinceNS), LeftAt: timeOf(p.leftNS), Messages: p.n,
			LastMessageAt: timeOf(p.lastNS), Recent: p.last(now),
		})
	}
	return out
}

func timeOf(unixNS int64) time.Time {
	if unixNS == 0 {
		return time.Time{}
	}
	return time.Unix(0, unixNS)
}

// people are the participants and their messages, derived from the frames like the rest of [state].
type people struct {
	by      map[string]*person // by identity
	tracks  map[uint16]string  // identities of publishers, by handle, of this connection
	omitted int                // number of times that a participant got or kept no counts
	all     counter            // the messages of everybody
}

type person struct {
	counter

	name, sid       string
	here            int // number of connections to the room
	sinceNS, leftNS int64
}

func (p *person) present(now time.Time) bool {
	known := p.sinceNS != 0 || p.leftNS != 0
	return p.here > 0 || !known && now.Sub(time.Unix(0, p.lastNS)) < unannounced
}

// counter counts messages, altogether and in the last intervals.
type counter struct {
	n      uint64
	lastNS int64
	// recent is a ring: the interval i, counted since 1970, is at i % recentParts. part is the
	// latest one.
	recent [recentParts]uint32
	part   int64
}

func partOf(unixNS int64) int64 { return max(0, unixNS) / int64(recentPart) }

// count counts a message.
func (c *counter) count(unixNS int64) {
	c.n++
	c.lastNS = unixNS
	part := partOf(unixNS)
	switch by := part - c.part; {
	case by >= recentParts, by <= -recentParts: // the second: the clock was set back
		c.recent, c.part = [recentParts]uint32{}, part
	case by > 0:
		for i := c.part + 1; i <= part; i++ {
			c.recent[i%recentParts] = 0
		}
		c.part = part
	}
	c.recent[part%recentParts]++
}

// last returns the counts of the last intervals before now, oldest first.
func (c *counter) last(now time.Time) (out [recentParts]uint32) {
	first := partOf(now.UnixNano()) - recentParts + 1
	for i := range out {
		at := first + int64(i)
		if at >= 0 && at <= c.part && at > c.part-recentParts {
			out[i] = c.recent[at%recentParts]
		}
	}
	return out
}

// counts returns the counter for [segment.State].
func (c *counter) counts() segment.MessageCounts {
	out := segment.MessageCounts{Messages: c.n, LastUnixNS: c.lastNS}
	if c.n == 0 {
		return out
	}
	out.Interval = c.part
	for i := max(0, c.part-recentParts+1); i <= c.part; i++ {
		if n := c.recent[i%recentParts]; n > 0 || out.Recent != nil {
			out.Recent = append(out.Recent, n)
		}
	}
	return out
}

func (c *counter) restore(s segment.MessageCounts) {
	*c = counter{n: s.Messages, lastNS: s.LastUnixNS, part: max(0, s.Interval)}
	for i, n := range s.Recent[max(0, len(s.Recent)-recentParts):] {
		at := c.part - int64(min(len(s.Recent), recentParts)-1-i)
		if at >= 0 {
			c.recent[at%recentParts] = n
		}
	}
}

// packet counts the message that a packet begins.
func (s *state) packet(f segment.Frame) {
	if f.Channel == segment.ChannelDataTrack {
		handle, begins := filter.BeginsFrame(f.Payload)
		if begins {
			identity := s.people.tracks[handle]
			s.people.all.count(f.UnixNS)
			if p := s.people.by[identity]; p != nil {
				p.count(f.UnixNS)
			}
		}
		return
	}
	identity, begins := filter.BeginsMessage(f.Payload)
	if !begins {
		return
	}
	s.people.all.count(f.UnixNS)
	p := s.people.by[string(identity)] // no allocation
	if p == nil && len(identity) > 0 && len(s.people.by) < maxPeople {
		p = s.person(string(identity)) // the server has not announced the sender yet
	}
	if p != nil {
		p.count(f.UnixNS)
	}
}

// person returns a participant, and adds one who is new. It returns nil if there is no space.
func (s *state) person(identity string) *person {
	if p := s.people.by[identity]; p != nil || identity == "" {
		return p
	}
	if s.people.by == nil {
		s.people.by = map[string]*person{}
	}
	if len(s.people.by) >= maxPeople {
		s.people.omitted++
		if !s.people.makeSpace() {
			return nil
		}
	}
	p := &person{}
	for _, other := range s.present {
		if other == identity {
			p.here++
		}
	}
	s.people.by[identity] = p
	return p
}

// makeSpace removes the participant who left longest ago. It returns false if all are present.
func (p *people) makeSpace() bool {
	oldest, found := "", false
	for identity, q := range p.by {
		if q.here == 0 && (!found || q.leftNS < p.by[oldest].leftNS) {
			oldest, found = identity, true
		}
	}
	delete(p.by, oldest)
	return found
}

// join adds a connection of a participant.
func (s *state) join(unixNS int64, ev segment.Event) {
	if s.present == nil {
		s.present = map[string]string{}
	}
	p := s.person(ev.Identity)
	// A sid identifies one connection of a participant. It is removed when the connection ends, so
	// that a participant who joins and leaves for hours uses no memory.
	_, known := s.present[ev.ParticipantSID]
	s.present[ev.ParticipantSID] = ev.Identity
	if !known {
		s.participants++
	}
	if p == nil {
		return
	}
	p.sid, p.name = ev.ParticipantSID, ev.Name
	if known {
		return
	}
	if p.here++; p.here == 1 {
		p.sinceNS, p.leftNS = unixNS, 0
	}
}

// leave removes a connection of a participant.
func (s *state) leave(unixNS int64, participantSID string) {
	identity, known := s.present[participantSID]
	delete(s.present, participantSID)
	p := s.people.by[identity]
	if !known || p == nil || p.here == 0 {
		return
	}
	if p.here--; p.here == 0 {
		p.leftNS = unixNS
	}
}

// subscribed notes whose frames have a handle.
func (p *people) subscribed(handle uint16, identity string) {
	if p.tracks == nil {
		p.tracks = map[uint16]string{}
	}
	p.tracks[handle] = identity
}

// restorePeople sets the participants from a state whose list of connections is already set. An
// earlier version stored no counts.
func (s *state) restorePeople(list []segment.Person, all *segment.MessageCounts) {
	if all != nil {
		s.people.all.restore(*all)
	}
	for _, q := range list {
		p := s.person(q.Identity)
		if p == nil {
			continue
		}
		p.restore(q.MessageCounts)
		p.name, p.sid, p.sinceNS, p.leftNS = q.Name, q.ParticipantSID, q.SinceUnixNS, q.LeftUnixNS
		for _, handle := range q.Tracks {
			s.people.subscribed(handle, q.Identity)
		}
	}
	for sid, identity := range s.present {
		if p := s.person(identity); p != nil && p.sid == "" {
			p.sid = sid
		}
	}
}

// state returns the participants for [segment.State]. allowed reports whether one may be recorded.
func (p *people) state(allowed func(identity string) bool) []segment.Person {
	tracks := map[string][]uint16{}
	for handle, identity := range p.tracks {
		tracks[identity] = append(tracks[identity], handle)
	}
	var out []segment.Person
	for _, identity := range slices.Sorted(maps.Keys(p.by)) {
		if !allowed(identity) {
			continue
		}
		q := p.by[identity]
		handles := tracks[identity]
		slices.Sort(handles)
		out = append(out, segment.Person{
			Identity: identity, ParticipantSID: q.sid, Name: q.name,
			SinceUnixNS: q.sinceNS, LeftUnixNS: q.leftNS,
			MessageCounts: q.counts(), Tracks: handles,
		})
	}
	return out
}

// updated sets what the server reports about a participant.
func (s *state) updated(ev segment.Event) {
	if p := s.people.by[ev.Identity]; p != nil {
		p.name = ev.Name
	}
}

// optedOut removes a participant who must not be shown any more.
func (s *state) optedOut(ev segment.Event) {
	if ev.Cause == segment.CauseExcluded {
		delete(s.people.by, ev.Identity)
	}
}
