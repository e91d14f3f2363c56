package pagetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/timeline"
)

// Empty is a service on which no session runs.
func Empty(at time.Time) overview.Overview {
	return overview.Overview{
		At: at, StartedAt: at.Add(-26 * time.Hour), Version: "0.3.0", Instance: "lab-7",
		Health: []overview.Health{
			{What: overview.HealthPlatform, Name: "SyncFlow", Text: "answers", Level: overview.OK},
			{
				What: overview.HealthSource, Name: "Announcements", Text: "arrive",
				Level: overview.OK,
			},
			{
				What: overview.HealthStore, Name: "Bucket", Level: overview.OK,
				Text: "s3://study, last verified 11 min ago",
			},
			{
				What: overview.HealthDisk, Name: "Disk", Level: overview.OK,
				Text: "31 GB free, enough for about 9 days",
			},
		},
		Disk: overview.Disk{State: overview.DiskOK, FreeBytes: 31 << 30},
	}
}

// names of a class of 30.
var names = []string{
	"Alice", "Bob", "Chen", "Dörte", "Emeka", "Fatima", "Gül", "Hana", "Ines", "Jakub", "Kofi",
	"Lena", "Mateo", "Noor", "Oksana", "Priya", "Quentin", "Rosa", "Søren", "Tomoko", "Uma",
	"Viktor", "Wanjiru", "Ximena", "Yusuf", "Zoë", "Anouk", "Bilal", "Carmen", "Dmitri",
}

// Class is a session with so many people, all of whom are there and send.
func Class(at time.Time, room string, people int) overview.Session {
	r := rand.New(rand.NewPCG(uint64(people), uint64(len(room))))
	s := overview.Session{
		EgressID: "EG_" + room, SessionID: "session-" + room, Project: "p1", ProjectName: "Study 1",
		Room: room, Status: "ACTIVE", State: overview.StateRecording, Level: overview.OK, Part: 1,
		Since: at.Add(-31*time.Minute - 12*time.Second), PerSecond: float64(people) * .46,
		DurableUpTo: at.Add(-200 * time.Millisecond), TextAllowed: true, Count: people,
	}
	for i := range people {
		p := overview.Person{
			Identity: fmt.Sprintf("learner-%02d", i+1), Name: names[i%len(names)],
			State: overview.PersonPresent, Since: s.Since.Add(time.Duration(i) * 4 * time.Second),
			LastMessageAt: at.Add(-time.Duration(r.IntN(80)+1) * time.Second),
			Messages:      uint64(80 + r.IntN(1200)), Recent: make([]uint32, 30),
		}
		for k := range p.Recent {
			p.Recent[k] = uint32(max(0, r.IntN(14)-4))
		}
		s.Messages += p.Messages
		s.People = append(s.People, p)
	}
	return s
}

// Quiet makes the recent messages of somebody end.
func quiet(p *overview.Person, since int) {
	for k := since; k < len(p.Recent); k++ {
		p.Recent[k] = 0
	}
}

// Troubled is a class with somebody who is silent, one who left, one who came late, one who is
// missing, and one who withdrew.
func Troubled(at time.Time, room string, people int) overview.Session {
	s := Class(at, room, people)
	s.Level, s.Silent, s.Absent, s.Outages = overview.Warn, 1, 1, 1
	p := s.People
	p[2].State, p[2].LastMessageAt = overview.PersonSilent, at.Add(-11*time.Minute)
	quiet(&p[2], 0)
	p[3].State, p[3].LeftAt = overview.PersonLeft, at.Add(-7*time.Minute)
	quiet(&p[3], 0)
	p[4].Since, p[4].Messages = at.Add(-40*time.Second), 3 // late
	for k := range 28 {
		p[4].Recent[k] = 0
	}
	p[5] = overview.Person{
		Identity: p[5].Identity, Name: p[5].Name, State: overview.PersonAbsent,
	}
	s.Count -= 2
	return s
}

// CutOff is a session that the recorder has lost.
func CutOff(at time.Time, room string, people int) overview.Session {
	s := Class(at, room, people)
	s.State, s.Level, s.CutOffSince = overview.StateCutOff, overview.Bad, at.Add(-12*time.Second)
	s.Reason, s.Outages = "LiveKit does not answer; next try in 3 s", 1
	return s
}

// Delivering is a session that ended.
func Delivering(at time.Time, room string) overview.Session {
	s := Class(at, room, 20)
	s.State, s.Status, s.People, s.Count = overview.StateDelivering, "COMPLETE", nil, 0
	s.ProjectName, s.EndedAt = "Study 2", at.Add(-time.Minute)
	s.Delivered, s.Total = 6_200_000, 10_000_000
	return s
}

// Busy is a service with everything that can be wrong.
func Busy(at time.Time) overview.Overview {
	o := Empty(at)
	o.Sessions = []overview.Session{
		CutOff(at, "class-7b", 2), Troubled(at, "class-7a", 30), Delivering(at, "pilot"),
	}
	o.Unrequested = []overview.SessionRef{
		{SessionID: "s-8", Project: "p1", ProjectName: "Study 1", Room: "staff meeting"},
		{SessionID: "s-9", Project: "p2", ProjectName: "Study 2", Room: "class-9"},
	}
	o.Unrecorded = []overview.UnrecordedRef{{
		SessionRef: overview.SessionRef{
			SessionID: "s-7", Project: "p1", ProjectName: "Study 1", Room: "class-7c",
		},
		Reason: "an administrator removed the recorder from the room",
		Since:  at.Add(-9 * time.Minute),
	}}
	return o
}

// DiskFull is a class on a full disk, and a bucket that refuses.
func DiskFull(at time.Time) overview.Overview {
	o := Empty(at)
	s := Class(at, "class-7a", 12)
	s.State, s.Level, s.CutOffSince = overview.StateCutOff, overview.Bad, at.Add(-95*time.Second)
	s.Reason = "the disk is full; recording continues when there is space"
	s.DurableUpTo = at.Add(-95 * time.Second)
	o.Sessions = []overview.Session{s}
	o.Disk = overview.Disk{State: overview.DiskFull, Since: at.Add(-95 * time.Second)}
	o.Health[3].Text, o.Health[3].Level = "full: nothing can be recorded. Free some space", overview.Bad
	o.Health[2].Text = "s3://study refuses: access denied. Local data is kept"
	o.Health[2].Level = overview.Bad
	return o
}

// Many is a service with so many sessions.
func Many(at time.Time, sessions int) overview.Overview {
	o := Empty(at)
	for i := range sessions {
		o.Sessions = append(o.Sessions, Class(at, fmt.Sprintf("class-%04d", i+1), 30))
	}
	return o
}

// Past are recordings that are delivered.
func Past(at time.Time) []overview.Recording {
	begin := time.Date(at.Year(), at.Month(), at.Day(), 7, 5, 0, 0, time.UTC)
	past := func(room string, began time.Duration, minutes, people int, messages uint64,
		text string, level overview.Level,
	) overview.Recording {
		from := begin.Add(began)
		return overview.Recording{
			Session: overview.Session{
				EgressID: "EG_" + room, SessionID: "session-" + room, Project: "p1",
				ProjectName: "Study 1", Room: room, State: overview.StateDelivered,
				Status: "COMPLETE", Level: overview.OK, Since: from, Part: 1, Messages: messages,
				EndedAt: from.Add(time.Duration(minutes) * time.Minute), TextAllowed: true,
			},
			Bucket: "s3://study", Prefix: "Study 1-ab12/" + room + "/",
			Captured: overview.Phrase{Text: text, Level: level}, Attended: people,
			Files: 7, Objects: 31, Bytes: 8_400_000, HasReport: true, HasEvents: true,
			Statement: []string{
				"The recorder was in the room for 44 min 3 s, from the opening of the room to its end.",
				"No outage. Every message that reached the recorder's connection is in the recording.",
				"Messages were numbered by their senders without a gap.",
			},
			Methods: "Data-channel messages were recorded with textegress 0.3.0 as a hidden " +
				"participant; arrival times are those of the recorder's clock.",
		}
	}
	list := []overview.Recording{
		past("class-6c", 0, 44, 23, 31882, "nothing missed", overview.OK),
		past("class-6b", -55*time.Minute, 43, 22, 28105, "outage 14 s, 2 people affected",
			overview.Warn),
		past("class-6a", -24*time.Hour, 0, 0, 0, "over before we could join", overview.Bad),
	}
	list[2].EndedAt, list[2].HasReport, list[2].HasEvents = time.Time{}, false, false
	return list
}

// Timeline is a class of 31 minutes with an outage.
func Timeline(at time.Time) timeline.Data {
	r := rand.New(rand.NewPCG(1, 2))
	from := at.Add(-31 * time.Minute)
	d := timeline.Data{
		From: from, To: at, Part: 10 * time.Second,
		Outages: []timeline.Interval{{
			From: from.Add(9 * time.Minute), To: from.Add(9*time.Minute + 74*time.Second),
			Cause: "signal_lost", Text: "LiveKit did not answer",
		}},
	}
	for i := range 8 {
		l := timeline.Lane{
			Who: fmt.Sprintf("learner-%02d", i+1), Name: names[i],
			Present: []timeline.Interval{{From: from, To: at, Open: true}},
			Counts:  make([]uint32, 186), First: from, Last: at,
		}
		if i == 3 {
			l.Present[0].To, l.Present[0].Open = at.Add(-7*time.Minute), false
		}
		for k := range l.Counts {
			t := from.Add(time.Duration(k) * d.Part)
			if t.Before(l.Present[0].To) && (k < 54 || k > 61) {
				l.Counts[k] = uint32(max(0, r.IntN(9)-5))
			}
			l.Messages += uint64(l.Counts[k])
		}
		d.Lanes = append(d.Lanes, l)
	}
	return d
}
