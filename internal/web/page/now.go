package page

import (
	"net/url"
	"slices"
	"strings"

	"github.com/syncflow/textegress/internal/overview"
)

// maxCards is how many sessions have a card. The others have a line each.
const maxCards = 60

// now is the content of the first page.
type now struct {
	overview.Overview

	Title   string
	Rights  overview.Rights
	Cards   []card
	Lines   []overview.Session
	Details []string
	More    int // details left out
	Alerts  bool
}

// maxDetails is how many details of a verdict are shown.
const maxDetails = 5

func newNow(o overview.Overview, r overview.Rights, open []string) now {
	o = o.For(r)
	n := now{Overview: o, Rights: r, Title: title(o.Verdict)}
	n.Details = o.Verdict.Details
	if len(n.Details) > maxDetails+1 {
		n.More, n.Details = len(n.Details)-maxDetails, n.Details[:maxDetails]
	}
	sessions := o.Sessions
	if len(sessions) > maxCards {
		n.Lines, sessions = sessions[maxCards:], sessions[:maxCards]
	}
	limit := peopleOfMany
	switch {
	case len(sessions) == 1:
		limit = peopleOfOne
	case len(sessions) <= 3:
		limit = peopleOfFew
	}
	for _, s := range sessions {
		of := limit
		if slices.Contains(open, s.EgressID) {
			of = len(s.People)
		}
		n.Cards = append(n.Cards, newCard(s, o.At, r, of))
	}
	return n
}

// title is what the tab of the browser shows.
func title(v overview.Verdict) string {
	mark := map[overview.Level]string{
		overview.OK: "●", overview.Warn: "▲", overview.Bad: "◆",
	}[v.Level]
	if v.Recording > 0 {
		return mark + " " + number(v.Recording) + " recording"
	}
	if v.Level == overview.Idle {
		return "○ ready"
	}
	return mark + " not recording"
}

// maxOpen bounds the cards that a request opens.
const maxOpen = 50

// opened returns the egress ids of the opened cards of a request, sorted.
func opened(q url.Values) []string {
	var out []string
	for id := range strings.SplitSeq(q.Get("open"), ",") {
		if id != "" && len(out) < maxOpen && len(id) <= 100 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
