package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/web/problem"
)

// query are the parameters of a request. The first one that is malformed is kept in bad.
type query struct {
	values url.Values
	bad    string
}

// parameters returns the parameters of a request. It refuses one that has others than the allowed,
// because a misspelt filter would otherwise select everything.
func parameters(w http.ResponseWriter, r *http.Request, allowed ...string) (*query, bool) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		invalid(w, "The query of the address is malformed.")
		return nil, false
	}
	for name := range values {
		if !slices.Contains(allowed, name) {
			known := "no parameters"
			if len(allowed) > 0 {
				known = strings.Join(allowed, ", ")
			}
			invalid(w, fmt.Sprintf("The parameter %q is unknown here; there are: %s.", name, known))
			return nil, false
		}
	}
	return &query{values: values}, true
}

// refuse answers with a problem if a parameter was malformed.
func (q *query) refuse(w http.ResponseWriter) bool {
	if q.bad == "" {
		return false
	}
	invalid(w, q.bad)
	return true
}

func invalid(w http.ResponseWriter, detail string) {
	problem.JSON(w, http.StatusBadRequest, "Invalid request", detail)
}

func (q *query) problem(format string, args ...any) {
	if q.bad == "" {
		q.bad = fmt.Sprintf(format, args...)
	}
}

func (q *query) text(name string) string {
	if len(q.values[name]) > 1 {
		q.problem("The parameter %s can be given once.", name)
	}
	return q.values.Get(name)
}

// number returns a whole number between lowest and highest, or otherwise if it is not given.
func (q *query) number(name string, otherwise, lowest, highest int) int {
	s := q.text(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lowest || n > highest {
		q.problem("The parameter %s is a whole number from %d to %d.", name, lowest, highest)
		return otherwise
	}
	return n
}

// time returns a time of RFC 3339.
func (q *query) time(name string) time.Time {
	s := q.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		q.problem("The parameter %s is a time such as 2026-03-02T09:30:00Z.", name)
	}
	return t
}

// since returns a time of RFC 3339, or now minus a duration.
func (q *query) since(name string, now time.Time) time.Time {
	s := q.text(name)
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d)
	}
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		q.problem("The parameter %s is a time such as 2026-03-02T09:30:00Z, or a duration such "+
			"as 10m.", name)
	}
	return t
}

// patterns returns the entries of a parameter that may be given several times. An entry is a name,
// or the beginning of a name followed by a star.
func (q *query) patterns(name string) []pattern.Pattern {
	var list []pattern.Pattern
	for _, entry := range q.values[name] {
		p, err := pattern.Parse(entry)
		if err != nil {
			q.problem("The parameter %s is malformed: %v.", name, err)
			continue
		}
		list = append(list, p)
	}
	return list
}
