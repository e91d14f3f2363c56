package app

import (
	"fmt"
	"maps"
	"slices"

	"github.com/syncflow/textegress/internal/spool"
)

// abandoned returns one message for each project that is not in the settings but has open
// recordings: they are not continued, sealed or delivered. [undelivered] lists sealed recordings.
func abandoned(projects []managedProject, recordings []*spool.Recording) []string {
	known := map[string]bool{}
	for _, p := range projects {
		known[p.Config.ProjectID] = true
	}
	open := map[string][]string{}
	for _, rec := range recordings {
		if id := rec.Info().ProjectID; !known[id] && rec.State() == spool.StateOpen {
			open[id] = append(open[id], rec.ID())
		}
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(open)) {
		others := ""
		if n := len(open[id]) - 1; n > 0 {
			others = fmt.Sprintf(" and %d others", n)
		}
		out = append(out, fmt.Sprintf("project %s is not in the settings: recording %s%s is neither "+
			"continued nor delivered; add the project again (a LiveKit server with this NAME, or a "+
			"SyncFlow project with this PROJECT_ID) and restart", id, open[id][0], others))
	}
	return out
}
