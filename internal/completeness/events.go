package completeness

import (
	"math"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// event adds one of the recorder's own events.
func (a *Account) event(f segment.Frame, m textegress.Message) {
	e := m.Event
	if e == nil {
		e = &textegress.Event{}
	}
	a.damagedLast = m.Kind == textegress.KindCorrupt
	switch m.Kind {
	case textegress.KindJoined:
		a.joinedNS[f.Epoch] = f.UnixNS
		if a.c.Join.JoinedUnixNS == 0 {
			a.c.Join.JoinedUnixNS, a.c.Join.RoomCreatedUnixMS = m.UnixNS, e.RoomCreatedUnixMS
		}
	case textegress.KindParticipantJoined:
		a.participantArrived(f, e)
	case textegress.KindParticipantLeft:
		if e.Cause == segment.CauseExcluded {
			break // the participant is still in the room, and sends what may not be recorded
		}
		if c := a.byKey[e.ParticipantSID]; c != nil && e.ParticipantSID != "" && !c.left {
			c.left, c.leftOutages, c.leftDamage = true, len(a.c.Outages), a.damage
		}
	case textegress.KindOutageStarted:
		a.recorderDied(e)
		started := e.SinceUnixNS
		if started == 0 {
			started = m.UnixNS
		}
		a.c.Outages = append(a.c.Outages, textegress.Outage{
			Cause: e.Cause, StartedUnixNS: started,
			StartIndex: f.Index,
		})
	case textegress.KindRecorderAway:
		a.recorderDied(e)
	case textegress.KindOutageEnded:
		if n := len(a.c.Outages); n > 0 && a.c.Outages[n-1].EndedUnixNS == 0 {
			a.c.Outages[n-1].EndedUnixNS, a.c.Outages[n-1].EndIndex = m.UnixNS, f.Index
		} else if e.SinceUnixNS != 0 { // the start was in an unreadable range
			a.c.Outages = append(a.c.Outages, textegress.Outage{
				Cause: e.Cause, StartedUnixNS: e.SinceUnixNS, EndedUnixNS: m.UnixNS,
				EndIndex: f.Index,
			})
		}
	case textegress.KindClockStep:
		if len(a.c.ClockSteps) >= a.limits.ClockSteps {
			a.c.ClockStepsOmitted++
			break
		}
		a.c.ClockSteps = append(a.c.ClockSteps, textegress.ClockStep{
			Index: f.Index, OffsetNS: e.OffsetNS, BeforeUnixNS: e.BeforeUnixNS,
			AfterUnixNS: e.AfterUnixNS, AtLeast: e.AtLeast, EgressID: e.EgressID,
		})
	case textegress.KindSelection:
		delete(a.rulesActive, e.EgressID)
		if e.Selection != nil && !e.Selection.IsZero() {
			a.rulesActive[e.EgressID] = true
			a.rulesEpoch++
		}
	case textegress.KindDropped:
		a.dropped = a.dropped || len(e.Dropped) > 0
	case textegress.KindCorrupt:
		a.damage++
		a.c.CorruptRanges++
		a.c.CorruptBytes = add(a.c.CorruptBytes, e.Bytes)
		a.c.FramesMissing = add(a.c.FramesMissing, e.FramesMissing)
	}
}

// add adds n without overflow. A damaged record may state a wrong n.
func add(sum, n int64) int64 {
	if n <= 0 {
		return sum
	}
	return min(sum, math.MaxInt64-n) + n
}

// recorderDied marks the totals of dropped packets as lower bounds: the process died with its
// counts.
func (a *Account) recorderDied(e *textegress.Event) {
	a.dropped = a.dropped || e.Cause == "process_died" && len(a.rulesActive) > 0
}

// participantArrived records when a participant joined. A participant that joined while the
// recorder was in the room cannot have sent anything before. The events of participants that were
// in the room before the recorder have the time of the joined event (docs/FORMAT.md, section 3.5).
func (a *Account) participantArrived(f segment.Frame, e *textegress.Event) {
	if e.ParticipantSID == "" {
		return
	}
	from := a.positionAt(f.Index)
	if at, ok := a.joinedNS[f.Epoch]; !ok || at == f.UnixNS {
		// It joined unobserved: before the recorder's first join, or in the outage before this one.
		from = position{beforeJoin: len(a.joinedNS) <= 1}
		if n := len(a.c.Outages); n > 0 && !from.beforeJoin {
			from.outages, from.index = n-1, a.c.Outages[n-1].StartIndex
		}
	}
	a.connection(e.ParticipantSID, e.Identity, from)
}

// outagesAfter returns the number of outages after the first n, of total, that started before the
// connection is known to have left.
func (c *connection) outagesAfter(n, total int) int {
	if c.left {
		total = c.leftOutages
	}
	return max(0, total-n)
}

// damageAfter reports whether a damaged range follows the first n, of total, before the connection
// is known to have left.
func (c *connection) damageAfter(n, total int64) bool {
	if c.left {
		total = c.leftDamage
	}
	return total > n
}
