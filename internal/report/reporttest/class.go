// Package reporttest makes up a lesson for tests of reports and of what shows them.
package reporttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/report"
	"github.com/syncflow/textegress/segment"
)

// Class is a made-up lesson, the same whenever it is made.
type Class struct {
	Lines    []textegress.Message
	Manifest textegress.Manifest
}

var began = time.Date(2026, 3, 11, 9, 5, 0, 0, time.UTC)

var firstNames = []string{
	"alice", "bob", "chen", "dörte", "emeka", "fatima", "gül", "hana", "ines", "jonas", "kofi",
	"lin", "mateo", "noor", "olga", "pavel", "qi", "rosa", "sami", "tariq", "uma", "viktor",
	"wei", "ximena", "yara", "zoe", "amir", "bea", "carl", "dana",
}

// New returns a lesson of some people with a late joiner, a silent one, one who leaves early,
// an agent and an outage.
func New(people int, length time.Duration) Class {
	r := rand.New(rand.NewPCG(1, 2))
	var c Class
	add := func(at time.Duration, m textegress.Message) {
		m.UnixNS = began.Add(at).UnixNano()
		c.Lines = append(c.Lines, m)
	}
	event := func(at time.Duration, kind textegress.Kind, e textegress.Event) {
		add(at, textegress.Message{Kind: kind, Event: &e})
	}
	event(-1200*time.Millisecond, textegress.KindRecordingStarted, segment.Event{})
	event(0, textegress.KindJoined, segment.Event{RoomSID: "RM_1", Identity: "recorder"})
	outage, gap := length/3, 14*time.Second
	topics := []string{"chat", "chat", "log", "log", "log", "cursor", "lk.transcription"}
	var connections []textegress.Connection
	var neighbours []textegress.OutageNeighbour
	for i := range people {
		who := firstNames[i%len(firstNames)]
		if i >= len(firstNames) {
			who = fmt.Sprintf("%s-%d", who, i/len(firstNames)+1)
		}
		sid := fmt.Sprintf("PA_%d", i)
		from, to := time.Duration(r.IntN(90))*time.Second, length
		kind := ""
		switch i {
		case 3:
			to = length * 2 / 3
		case 7:
			from = length / 2
		case 11:
			who, kind, from = "tutor", "AGENT", 0
		}
		event(from, textegress.KindParticipantJoined, segment.Event{
			Identity: who, ParticipantSID: sid, ParticipantKind: kind,
		})
		n := int64(0)
		rate := 2 + r.IntN(30)
		for at := from; i != 15 && at < to; at += time.Duration(r.IntN(rate*2000)+200) *
			time.Millisecond {
			if at > outage && at < outage+gap {
				continue
			}
			if phase := at * 6 / length; (phase == 2 || phase == 5) && r.IntN(3) > 0 {
				continue // the teacher speaks
			}
			text := "what happens if we give it more light?"
			topic := topics[r.IntN(len(topics)-1)]
			if who == "tutor" {
				topic = topics[len(topics)-1]
			}
			n++
			add(at, textegress.Message{
				Kind: textegress.KindData, Identity: who, ParticipantSID: sid, Topic: topic,
				Text: &text,
			})
		}
		if to < length {
			event(to, textegress.KindParticipantLeft, segment.Event{
				Identity: who, ParticipantSID: sid,
			})
		}
		conn := textegress.Connection{
			ParticipantSID: sid, Identity: who, Packets: n, Reliable: n,
			Tail: textegress.TailUnproved,
		}
		if n > 0 {
			conn.Sequence = &textegress.Sequence{
				First: 1, Last: uint32(n), Received: n, Contiguous: true,
			}
			next := uint32(n/3 + 1)
			if i == 4 || i == 9 {
				conn.Sequence.Contiguous, conn.Sequence.GapCount = false, 1
				conn.Sequence.MissingNumbers, conn.Sequence.Last = 2, uint32(n+2)
				next += 2
			}
			neighbours = append(neighbours, textegress.OutageNeighbour{
				ParticipantSID: sid, LastBefore: uint32(n / 3), FirstAfter: next,
			})
		}
		connections = append(connections, conn)
	}
	event(outage, textegress.KindOutageStarted, segment.Event{
		Cause: "connection_lost", SinceUnixNS: began.Add(outage).UnixNano(),
	})
	event(outage+gap, textegress.KindOutageEnded, segment.Event{})
	event(length, textegress.KindRecordingEnded, segment.Event{Reason: "room_closed"})
	slices.SortStableFunc(c.Lines, func(a, b textegress.Message) int {
		return int(a.UnixNS - b.UnixNS)
	})
	counts := textegress.Counts{Participants: people, ByKind: map[textegress.Kind]int64{}}
	for i := range c.Lines {
		m := &c.Lines[i]
		m.N = int64(i + 1)
		m.Time = time.Unix(0, m.UnixNS).UTC()
		counts.ByKind[m.Kind]++
		if !m.Kind.IsEvent() {
			counts.Messages++
			counts.Bytes += 180
		}
	}
	end := began.Add(length).UnixNano()
	n := int64(len(c.Lines))
	c.Manifest = textegress.Manifest{
		FormatVersion: 1, EgressID: "DE_7Qm2xYbV4cKd", Status: textegress.StatusComplete,
		Reason: "room_closed", Revision: 1, Part: 1, Instance: "lab-7",
		Project:       textegress.Project{ID: "p1", Name: "Study 1"},
		Session:       textegress.Session{ID: "6b0c1c3e", RoomName: "class-7a"},
		StartedUnixNS: began.UnixNano(), EndedUnixNS: end, ServerVersions: []string{"1.11.0"},
		Counts: counts,
		Completeness: textegress.Completeness{
			Join: textegress.Join{
				AnnouncedUnixNS:   began.Add(-1200 * time.Millisecond).UnixNano(),
				JoinedUnixNS:      began.UnixNano(),
				RoomCreatedUnixMS: began.Add(-3 * time.Second).UnixMilli(),
			},
			Outages: []textegress.Outage{{
				Cause: "connection_lost", StartedUnixNS: began.Add(outage).UnixNano(),
				EndedUnixNS: began.Add(outage + gap).UnixNano(), StartIndex: 10, EndIndex: 12,
				Connections: neighbours,
			}},
			Tail: textegress.TailUnproved, Connections: connections,
			Streams: textegress.Streams{Complete: 7},
		},
		Objects: []textegress.Object{
			{Key: "alice-all-topics-2026-03-11T09:05:10UTC.txt", Size: 48_200},
			{Key: "events.jsonl", Size: 3_104_221, Messages: &n},
			{Key: "files/alice/s1-plant.jpg", Size: 231_004},
			{Key: "files/bob/s2-notes.pdf", Size: 88_112},
			{Key: "metadata.json", Size: 512},
		},
	}
	return c
}

// Render returns the report of a class.
func (c Class) Render() (string, error) {
	r := report.New()
	for i := range c.Lines {
		r.Add(&c.Lines[i])
	}
	var b strings.Builder
	err := r.Write(&b, c.Manifest)
	return b.String(), err
}
