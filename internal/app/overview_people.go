package app

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/roster"
)

// fillPeople adds who is in a session and who is missing. If the key of the pseudonyms cannot be
// read, it adds the counts only.
func (s *overviewService) fillPeople(to *overview.Session, p managedProject, r recorder.Snapshot,
	now time.Time,
) {
	info := r.Info
	people, ok := p.ctl.People(info.EgressID)
	if !ok {
		return
	}
	list := peopleOf(people, now)
	if p.roster.roster != nil {
		expected := p.expected(r)
		list = addExpected(list, expected, absent(r, expected, people, s.rosterGrace(), now))
	}
	to.Count, to.Silent, to.Absent = 0, 0, 0
	for _, q := range list {
		switch q.State {
		case overview.PersonSilent:
			to.Silent++
			to.Count++
		case overview.PersonPresent:
			to.Count++
		case overview.PersonAbsent:
			to.Absent++
		}
		if q.LastMessageAt.After(to.LastMessageAt) {
			to.LastMessageAt = q.LastMessageAt
		}
	}
	if to.Absent > 0 || to.Silent > 0 {
		to.Level = to.Level.Worse(overview.Warn)
	}
	if info.Pseudonyms {
		names, err := liveProjects{s.App}.Pseudonyms(info)
		if err != nil {
			return
		}
		for i := range list {
			list[i].Identity, list[i].Name = names.Of(list[i].Identity), ""
		}
	}
	sortPeople(list)
	to.People = list
}

// peopleOf describes the participants that the recorder knows.
func peopleOf(people []recorder.Person, now time.Time) []overview.Person {
	list := make([]overview.Person, 0, len(people))
	for _, p := range people {
		q := overview.Person{
			Identity: p.Identity, State: overview.PersonLeft, Since: p.Since, LeftAt: p.LeftAt,
			LastMessageAt: p.LastMessageAt, Messages: p.Messages, Recent: p.Recent[:],
		}
		if p.Name != p.Identity {
			q.Name = p.Name
		}
		if p.Present {
			q.State, q.LeftAt = overview.PersonPresent, time.Time{}
			last := p.LastMessageAt
			if p.Since.After(last) {
				last = p.Since
			}
			if !last.IsZero() && now.Sub(last) >= overview.SilentAfter {
				q.State = overview.PersonSilent
			}
		}
		list = append(list, q)
	}
	return list
}

// rosterGrace returns ROSTER_GRACE.
func (a *App) rosterGrace() time.Duration {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.config.RosterGrace
}

// addExpected adds the names of a roster to the list, and the people who have not come.
func addExpected(list []overview.Person, expected, absent []roster.Entry) []overview.Person {
	missing := map[string]bool{}
	for _, e := range absent {
		missing[e.Identity] = true
	}
	at := map[string]int{}
	for i, p := range list {
		at[p.Identity] = i
	}
	for _, e := range expected {
		i, came := at[e.Identity]
		switch {
		case came:
			list[i].Name = cmp.Or(e.Name, list[i].Name)
		case missing[e.Identity]:
			list = append(list, overview.Person{
				Identity: e.Identity, Name: e.Name, State: overview.PersonAbsent,
			})
		default:
			list = append(list, overview.Person{
				Identity: e.Identity, Name: e.Name, State: overview.PersonExpected,
			})
		}
	}
	return list
}

// sortPeople puts those first who need attention, then the others by name.
func sortPeople(list []overview.Person) {
	order := map[string]int{
		overview.PersonAbsent: 0, overview.PersonSilent: 1, overview.PersonExpected: 2,
		overview.PersonPresent: 3, overview.PersonLeft: 4,
	}
	slices.SortStableFunc(list, func(a, b overview.Person) int {
		return cmp.Or(cmp.Compare(order[a.State], order[b.State]),
			strings.Compare(cmp.Or(a.Name, a.Identity), cmp.Or(b.Name, b.Identity)),
			strings.Compare(a.Identity, b.Identity))
	})
}
