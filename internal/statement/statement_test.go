package statement

import (
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
)

func TestSequenceInWords(t *testing.T) {
	for want, s := range map[string]textegress.Sequence{
		"numbers 2 to 9 contiguous, 1 to 1 not received (unexplained)": {
			First: 2, Last: 9,
			Contiguous: true, BeforeFirst: &textegress.Gap{First: 1, Last: 1},
		},
		"numbers 2 to 9 contiguous, 1 to 1 not received (unexplained, perhaps excluded " +
			"from recording)": {
			First: 2, Last: 9, Contiguous: true, BeforeFirst: &textegress.Gap{
				First: 1, Last: 1,
				Selection: true,
			},
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 1 across an outage or damage, 1 unexplained " +
			"(not for the recorder, or lost)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 1,
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 2 unexplained (not for the recorder, " +
			"excluded from recording, or lost)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 2, SelectionGaps: 2,
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 2 unexplained (not for the recorder, or " +
			"lost; 1 of them perhaps excluded from recording)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 2, SelectionGaps: 1,
		},
	} {
		if got := sequence(s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The statement lists steps of the clock, and subtracts them from the length of an outage.
func TestClockStepsInWords(t *testing.T) {
	const noon = 1_767_355_200_000_000_000 // 2026-01-02T12:00:00Z
	outage := textegress.Outage{
		Cause: "connection_lost", StartedUnixNS: noon,
		EndedUnixNS: noon - 3590e9, StartIndex: 10, EndIndex: 12,
	}
	back := textegress.ClockStep{
		Index: 9, OffsetNS: -3600e9, BeforeUnixNS: noon,
		AfterUnixNS: noon - 3599e9,
	}
	for name, tt := range map[string]struct {
		steps []textegress.ClockStep
		want  []string
	}{
		"noticed with the outage": {[]textegress.ClockStep{back}, []string{
			"from 2026-01-02 12:00:00.000 UTC for 10 s ",
			"Steps of the recorder's clock: 1. Times before a step are not comparable " +
				"with times after it.",
			"Step 1: back by 1 h: 2026-01-02 12:00:00.000 UTC was followed by " +
				"2026-01-02 11:00:01.000 UTC.",
		}},
		"within the outage": {
			[]textegress.ClockStep{{Index: 11, OffsetNS: -3600e9}},
			[]string{"from 2026-01-02 12:00:00.000 UTC for 10 s "},
		},
		"not in the outage": {[]textegress.ClockStep{
			{Index: 11, OffsetNS: -3600e9},
			{Index: 7, OffsetNS: 5e9},
			{Index: 13, OffsetNS: 5e9},
		}, []string{
			"from 2026-01-02 12:00:00.000 UTC for 10 s ", "Steps of the recorder's clock: 3.",
			"Step 3: forward by 5 s: ",
		}},
		"while nobody recorded": {[]textegress.ClockStep{{
			Index: 11, OffsetNS: -3600e9,
			AtLeast: true,
		}}, []string{
			"for an unknown time (the clock was set)", "back by at least 1 h",
		}},
		"of one of two recorders": {[]textegress.ClockStep{{
			Index: 30, OffsetNS: 5e9,
			EgressID: "DE_a",
		}}, []string{
			"(DE_a).",
			"for an unknown time (the clock was set)",
		}},
	} {
		got := strings.Join(Sentences(textegress.Manifest{Completeness: textegress.Completeness{
			Outages:    []textegress.Outage{outage},
			ClockSteps: tt.steps,
		}}), "\n")
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got)
			}
		}
	}
	if got := strings.Join(Sentences(textegress.Manifest{}), "\n"); strings.Contains(got, "clock") {
		t.Errorf("there was no step: %s", got)
	}
}

// TestJoinInWords: a recording that began twelve minutes late must say so, although nothing was
// lost since.
func TestJoinInWords(t *testing.T) {
	const at = int64(1_749_673_840_123_456_789)
	const ms = int64(1e6)
	for want, j := range map[string]textegress.Join{
		"The recorder was never in the room.": {AnnouncedUnixNS: at},
		"The recorder joined the room at 2025-06-11 20:30:40.123 UTC. What was sent before is " +
			"not recorded.": {JoinedUnixNS: at},
		"The recorder joined the room at 2025-06-11 20:30:40.123 UTC, 12 min 3 s after the session was " +
			"announced. What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 723_000_400_000,
		},
		"The recorder joined the room at 2025-06-11 20:30:40.123 UTC, 1 min after the session was " +
			"announced. What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 59_999*ms,
		},
		"The recorder joined the room at 2025-06-11 20:30:40.123 UTC, 2 h after the room was " +
			"created (by the server's clock). What was sent before is not recorded.": {
			JoinedUnixNS: at, RoomCreatedUnixMS: at/ms - 7_200_000,
		},
		"The recorder joined the room at 2025-06-11 20:30:40.123 UTC, 210 ms after the session was " +
			"announced and 4 s after the room was created (by the server's clock). " +
			"What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 210*ms, RoomCreatedUnixMS: at/ms - 3900,
		},
		// A clock that was set, and a room whose server's clock is ahead.
		"The recorder joined the room at 2025-06-11 20:30:40.124 UTC. What was sent before is " +
			"not recorded.": {
			JoinedUnixNS: at + ms, AnnouncedUnixNS: at + 2*ms, RoomCreatedUnixMS: at/ms + 60_000,
		},
	} {
		if got := Joined(j); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		out := strings.Join(Outages(textegress.Completeness{Join: j}, 1), "\n")
		if strings.Contains(out, "after the join.") != (j.JoinedUnixNS != 0) {
			t.Errorf("the outages of %s", out)
		}
	}
}

func TestPhrase(t *testing.T) {
	const second = int64(1e9)
	joined := textegress.Join{JoinedUnixNS: 100 * second, AnnouncedUnixNS: 99 * second}
	outage := func(n ...textegress.OutageNeighbour) textegress.Outage {
		return textegress.Outage{
			Cause: "connection_lost", StartedUnixNS: 200 * second, EndedUnixNS: 214 * second,
			Connections: n,
		}
	}
	whole := textegress.OutageNeighbour{ParticipantSID: "PA_1", LastBefore: 7, FirstAfter: 8}
	hole := textegress.OutageNeighbour{ParticipantSID: "PA_2", LastBefore: 7, FirstAfter: 9}
	silent := textegress.OutageNeighbour{ParticipantSID: "PA_3", LastBefore: 7}
	open := outage(hole)
	open.EndedUnixNS = 0
	for want, m := range map[string]textegress.Manifest{
		"ok: nothing known to be missing":        {},
		"ok: nothing known to be missing so far": {Status: textegress.StatusActive},
		"warn: outage 14 s, 2 people may be affected": {Completeness: textegress.Completeness{
			Outages: []textegress.Outage{outage(whole, hole, silent)},
		}},
		"warn: outage 14 s, 1 person may be affected": {Completeness: textegress.Completeness{
			Outages: []textegress.Outage{outage(hole, silent)}, // two connections of one person
			Connections: []textegress.Connection{
				{ParticipantSID: "PA_2", Identity: "alice"},
				{ParticipantSID: "PA_3", Identity: "alice"},
			},
		}},
		"warn: outage 14 s, no numbered packet missed in it": {
			Completeness: textegress.Completeness{Outages: []textegress.Outage{outage(whole)}},
		},
		"warn: 2 outages, 28 s in all, what was sent meanwhile may be missing": {
			Completeness: textegress.Completeness{
				Outages: []textegress.Outage{outage(), outage()},
			},
		},
		"warn: an outage that lasted to the end, 1 person may be affected": {
			Completeness: textegress.Completeness{Outages: []textegress.Outage{open}},
		},
		"warn: up to 3 packets sent before the join": {Completeness: textegress.Completeness{
			Connections: []textegress.Connection{{Sequence: &textegress.Sequence{
				First: 4, BeforeFirst: &textegress.Gap{First: 1, Last: 3, BeforeJoin: true},
			}}},
		}},
		"warn: 1.5 KB of the record unreadable, the disk failed": {
			Completeness: textegress.Completeness{
				CorruptRanges: 1, CorruptBytes: 1500, Suspect: true,
			},
		},
		"warn: ended early: an administrator removed the recorder from the room": {
			Reason: "participant_removed",
		},
	} {
		m.Completeness.Join = joined
		text, level := Phrase(m)
		if got := string(level) + ": " + text; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for want, m := range map[string]textegress.Manifest{
		"bad: over before the recorder could join":              {Reason: "session_ended"},
		"bad: nothing recorded: somebody stopped the recording": {Reason: "stopped"},
		"warn: not in the room yet":                             {},
	} {
		text, level := Phrase(m)
		if got := string(level) + ": " + text; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What the sentences claim of numbers is what the account proves.
func TestNumbersInWords(t *testing.T) {
	whole := textegress.Connection{Sequence: &textegress.Sequence{
		First: 1, Last: 9, Received: 9, Contiguous: true,
	}}
	gap := textegress.Connection{Lossy: 2, Sequence: &textegress.Sequence{
		First: 1, Last: 9, Received: 6, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 1,
		UnexplainedNumbers: 2,
	}}
	for want, list := range map[string][]textegress.Connection{
		"Of 2 connections with 18 numbered packets, every number": {whole, whole},
		"Of 2 connections with 15 numbered packets, 1 has every number from the first to the last " +
			"that was received, and the others lack 3 numbers.": {whole, gap},
		"1 of these lie across an outage":   {whole, gap},
		"2 of these are unexplained":        {whole, gap},
		"2 packets came without a number":   {gap},
		"That none was lost is not claimed": {gap},
	} {
		got := strings.Join(Sentences(textegress.Manifest{
			Completeness: textegress.Completeness{Connections: list},
		}), "\n")
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
		if len(list) == 2 && strings.Contains(got, "nothing numbered is missing") !=
			list[1].Sequence.Contiguous {
			t.Errorf("claims too much or too little:\n%s", got)
		}
	}
}

// Neither the phrase, the sentences nor the methods name a participant.
func TestNobodyIsNamed(t *testing.T) {
	const name = "alice-the-secret"
	m := textegress.Manifest{
		Status: textegress.StatusComplete, Reason: "room_closed", EndedUnixNS: 9e9,
		Completeness: textegress.Completeness{
			Join: textegress.Join{JoinedUnixNS: 1e9},
			Outages: []textegress.Outage{{
				Cause: "connection_lost", StartedUnixNS: 2e9, EndedUnixNS: 3e9,
				Connections: []textegress.OutageNeighbour{{ParticipantSID: name, LastBefore: 1}},
			}},
			Connections: []textegress.Connection{{
				ParticipantSID: name, Identity: name, Packets: 3,
				Sequence: &textegress.Sequence{First: 2, Last: 3, BeforeFirst: &textegress.Gap{}},
			}},
			Streams: textegress.Streams{Incomplete: 1, List: []textegress.IncompleteStream{{
				ID: name, Identity: name,
			}}},
		},
	}
	phrase, _ := Phrase(m)
	for _, s := range append(Sentences(m), phrase, Methods(m)) {
		if strings.Contains(s, name) {
			t.Errorf("names a participant: %s", s)
		}
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 210 * time.Millisecond: "210 ms", 1234 * time.Millisecond: "1.2 s",
		14 * time.Second: "14 s", 59_999 * time.Millisecond: "1 min", 125 * time.Second: "2 min 5 s",
		time.Hour: "1 h", 63 * time.Minute: "1 h 3 min", 3_599_600 * time.Millisecond: "1 h",
		9_960 * time.Millisecond: "10 s", 50 * time.Hour: "50 h",
	} {
		if got := Length(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	m := textegress.Manifest{
		EgressID: "DE_1", EndedUnixNS: 3_700e9, Pseudonyms: true,
		Counts: textegress.Counts{Messages: 1204, Participants: 1},
		Completeness: textegress.Completeness{
			Join: textegress.Join{AnnouncedUnixNS: 98_800e6, JoinedUnixNS: 100e9},
			Tail: textegress.TailUnproved,
			Connections: []textegress.Connection{
				{Sequence: &textegress.Sequence{Contiguous: true}},
				{Sequence: &textegress.Sequence{MissingNumbers: 3, UnexplainedNumbers: 2}},
			},
		},
	}
	want := "Messages on the LiveKit data channels of the session were recorded passively with " +
		"textegress (recording DE_1) from 1970-01-01 00:01:40 UTC to 1970-01-01 01:01:40 UTC (1 h): " +
		"1,204 messages from 1 participant. The recorder's own account states no outage; by the " +
		"senders' own numbering of reliable packets, none is missing between the first and the last " +
		"received for 1 of 2 connections, and for the others 1 number is missing across an outage or " +
		"damage, and 2 elsewhere, usually those of messages addressed to other recipients. What was " +
		"sent before the recorder joined, 1.2 s after the session was announced, is not included, " +
		"and what was sent in the last moments may not be. Identities were replaced by keyed " +
		"pseudonyms before the data left the recorder."
	if got := Methods(m); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
