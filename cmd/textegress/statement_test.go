package main

import (
	"testing"

	"github.com/syncflow/textegress"
)

func TestSequenceInWords(t *testing.T) {
	for want, s := range map[string]textegress.Sequence{
		"numbers 2 to 9 contiguous, 1 to 1 not received (unexplained)": {First: 2, Last: 9, Contiguous: true, BeforeFirst: &textegress.Gap{First: 1, Last: 1}},
		"numbers 2 to 9 contiguous, 1 to 1 not received (unexplained, perhaps not to be recorded)": {
			First: 2, Last: 9, Contiguous: true, BeforeFirst: &textegress.Gap{First: 1, Last: 1, Selection: true},
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 1 across an outage or damage, 1 unexplained (not for us, or lost)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 1,
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 2 unexplained (not for us, not to be recorded, or lost)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 2, SelectionGaps: 2,
		},
		"numbers 1 to 9 with 2 gaps (3 numbers), 2 unexplained (not for us, or lost; 1 of them perhaps not to be recorded)": {
			First: 1, Last: 9, GapCount: 2, MissingNumbers: 3, UnexplainedGaps: 2, SelectionGaps: 1,
		},
	} {
		if got := sequence(s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
