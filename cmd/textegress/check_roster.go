package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/roster"
)

// checkRoster reads the roster of a project.
func checkRoster(p config.Project) checkResult {
	f := checkResult{Project: p.Index, Part: "roster"}
	r, err := roster.Load(p.RosterFile)
	if err != nil {
		f.Detail, f.Key = err.Error(), p.Variable("ROSTER_FILE")
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("%s: %d people expected", p.RosterFile, r.Len())
	return f
}
