package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration. It never contains a secret value; of
// the values that are not secret it quotes at most a short piece.
type Problem struct {
	// as in the environment, for example PROJECTS__0__SECRET; "" when the problem has no key (a
	// syntax error)
	Key string
	// where the value came from: "environment", ".env line 3", "textegress.yaml line 7"; "" when it
	// is missing
	Source string
	Wrong  string // what is wrong, a phrase without a full stop
	Remedy string // what to do about it, a phrase without a full stop; "" when Wrong says it all
}

// String puts the problem in one line: key (source): what is wrong; what to do.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Key != "" && p.Source != "":
		fmt.Fprintf(&b, "%s (%s): ", p.Key, p.Source)
	case p.Key != "" || p.Source != "":
		fmt.Fprintf(&b, "%s%s: ", p.Key, p.Source)
	}
	b.WriteString(p.Wrong)
	if p.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(p.Remedy)
	}
	return b.String()
}

// ProblemsError is the one error of Load. It lists everything that is wrong, so that one round of
// editing is enough.
type ProblemsError struct{ Problems []Problem }

func (e *ProblemsError) Error() string {
	if len(e.Problems) == 1 {
		return "the configuration has a problem: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  - ")
		b.WriteString(p.String())
	}
	return b.String()
}

// clip shortens a value that is quoted in a message and makes control characters harmless.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
