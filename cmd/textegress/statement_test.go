package main

import (
	"strings"
	"testing"

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
			"from 2026-01-02T12:00:00.000Z for 10s.",
			"Steps of the recorder's clock: 1. Times before a step are not comparable " +
				"with times after it.",
			"  1. back by 1h0m0s: 2026-01-02T12:00:00.000Z was followed by " +
				"2026-01-02T11:00:01.000Z.",
		}},
		"within the outage": {
			[]textegress.ClockStep{{Index: 11, OffsetNS: -3600e9}},
			[]string{"from 2026-01-02T12:00:00.000Z for 10s."},
		},
		"not in the outage": {[]textegress.ClockStep{
			{Index: 11, OffsetNS: -3600e9},
			{Index: 7, OffsetNS: 5e9},
			{Index: 13, OffsetNS: 5e9},
		}, []string{
			"from 2026-01-02T12:00:00.000Z for 10s.", "Steps of the recorder's clock: 3.",
			"  3. forward by 5s: ",
		}},
		"while nobody recorded": {[]textegress.ClockStep{{
			Index: 11, OffsetNS: -3600e9,
			AtLeast: true,
		}}, []string{
			"for an unknown time (the clock was set)", "back by at least 1h0m0s",
		}},
		"of one of two recorders": {[]textegress.ClockStep{{
			Index: 30, OffsetNS: 5e9,
			EgressID: "DE_a\x1b",
		}}, []string{
			`(DE_a\u001b).`,
			"for an unknown time (the clock was set)",
		}},
	} {
		var b strings.Builder
		printStatement(&b, textegress.Completeness{
			Outages:    []textegress.Outage{outage},
			ClockSteps: tt.steps,
		}, nil)
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
	}
	var b strings.Builder
	printStatement(&b, textegress.Completeness{}, nil)
	if strings.Contains(b.String(), "clock") {
		t.Errorf("there was no step: %s", b.String())
	}
}

// TestJoinInWords: a recording that began twelve minutes late must say so, although nothing was
// lost since.
func TestJoinInWords(t *testing.T) {
	const at = int64(1_749_673_840_123_456_789)
	const ms = int64(1e6)
	for want, j := range map[string]textegress.Join{
		"The recorder was never in the room.": {AnnouncedUnixNS: at},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z. What was sent before is " +
			"not recorded.": {JoinedUnixNS: at},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z, 12m3s after the session was " +
			"announced. What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 723_000_400_000,
		},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z, 1m0s after the session was " +
			"announced. What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 60_000*ms,
		},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z, 59.999s after the session was " +
			"announced. What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 59_999*ms,
		},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z, 2h0m0s after the room was " +
			"created (by the server's clock). What was sent before is not recorded.": {
			JoinedUnixNS: at, RoomCreatedUnixMS: at/ms - 7_200_000,
		},
		"The recorder joined the room at 2025-06-11T20:30:40.123Z, 210ms after the session was " +
			"announced and 4s after the room was created (by the server's clock). " +
			"What was sent before is not recorded.": {
			JoinedUnixNS:    at,
			AnnouncedUnixNS: at - 210*ms, RoomCreatedUnixMS: at/ms - 3900,
		},
		// A clock that was set, and a room whose server's clock is ahead.
		"The recorder joined the room at 2025-06-11T20:30:40.124Z. What was sent before is " +
			"not recorded.": {
			JoinedUnixNS: at + ms, AnnouncedUnixNS: at + 2*ms, RoomCreatedUnixMS: at/ms + 60_000,
		},
	} {
		if got := joined(j); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var out strings.Builder
		printStatement(&out, textegress.Completeness{Join: j}, nil)
		if after := strings.Contains(out.String(), "No outage is known after the join."); after != (j.JoinedUnixNS != 0) {
			t.Errorf("the outages of %s", out.String())
		}
	}
}
