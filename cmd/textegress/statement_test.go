package main

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress"
)

// What a participant or a recorder chose as a name cannot reach the terminal unescaped.
func TestStatementIsEscaped(t *testing.T) {
	const name = "a\x1bb"
	c := textegress.Completeness{
		Outages:     []textegress.Outage{{Cause: name}},
		ClockSteps:  []textegress.ClockStep{{EgressID: name}},
		Connections: []textegress.Connection{{ParticipantSID: name, Identity: name}},
	}
	var b strings.Builder
	printStatement(&b, c, []textegress.MergedRecording{{EgressID: name, Instance: name}})
	if got := b.String(); strings.Contains(got, "\x1b") || strings.Count(got, `a\u001bb`) != 6 {
		t.Errorf("%q", got)
	}
}
