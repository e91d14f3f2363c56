package config

import (
	"fmt"
	"strings"
)

// Problem is one error in the configuration. It never contains a secret value, and quotes at most a
// short part of any other value.
type Problem struct {
	// as in the environment, for example PROJECTS__0__SECRET; "" for a problem without a key (a
	// syntax error)
	Key string
	// source of the value: "environment", ".env line 3", "textegress.yaml line 7"; "" if it is
	// missing
	Source string
	Wrong  string // the error, a phrase without a full stop
	Remedy string // the remedy, a phrase without a full stop; "" if Wrong suffices
}

// String returns one line: key (source): error; remedy.
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

// ProblemsError is the only error of Load. It lists all problems, so that they can be corrected at
// once.
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

// clip quotes a value for a message: it shortens the value and escapes control characters.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
