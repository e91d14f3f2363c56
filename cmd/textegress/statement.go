package main

import (
	"fmt"
	"io"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/statement"
)

// maxShown is how many connections, outages and steps of the clock the text output shows; --json
// shows all.
const maxShown = 40

// printStatement writes a completeness statement as text.
func printStatement(w io.Writer, c textegress.Completeness, merged []textegress.MergedRecording) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	lines := func(list ...string) {
		for _, s := range list {
			line("%s", escape(s))
		}
	}
	line("")
	for _, m := range merged {
		line("Merged from %s (instance %s, %s): %d packets, %d of them only in this recording.",
			escape(m.EgressID), escape(m.Instance), escape(string(m.Status)), m.Packets, m.Only)
	}
	lines(statement.Joined(c.Join))
	lines(statement.Outages(c, maxShown)...)
	lines(statement.ClockSteps(c, maxShown)...)
	lines(statement.NotRead(c)...)
	lines(statement.Tail(c))
	lines(statement.Streams(c)...)
	if c.PossibleDuplicates > 0 {
		line("%d packets may be recorded twice; they are marked possible_duplicate.",
			c.PossibleDuplicates)
	}
	line("")
	line("Connections: %d", len(c.Connections))
	for i, conn := range c.Connections {
		if i == maxShown {
			line("  … and %d more (--json)", len(c.Connections)-i)
			break
		}
		line("  %s: %s", escape(statement.Who(conn)), escape(statement.Account(conn)))
	}
	if o := c.ConnectionsOmitted; o != nil {
		line("  %d packets of further connections are recorded but not accounted for "+
			"individually; nothing is claimed about them.", o.Packets)
	}
}
