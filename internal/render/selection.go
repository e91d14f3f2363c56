package render

import (
	"slices"
	"strings"

	"github.com/syncflow/textegress"
)

// rules notes which rules are in force from now on; nil: none.
func (s *summary) rules(unixNS int64, r *textegress.SelectionRules) {
	now := textegress.SelectionRules{}
	if r != nil {
		now = *r
	}
	now.SinceUnixNS = unixNS
	sel := s.selection()
	sel.Rules = append(sel.Rules, now)
}

// dropped adds up what was not recorded.
func (s *summary) dropped(list []textegress.Dropped) {
	sel := s.selection()
	for _, d := range list {
		i, found := slices.BinarySearchFunc(sel.Dropped, d.Reason,
			func(e textegress.Dropped, reason string) int {
				return strings.Compare(e.Reason, reason)
			})
		if !found {
			sel.Dropped = slices.Insert(sel.Dropped, i, textegress.Dropped{Reason: d.Reason})
		}
		sel.Dropped[i].Packets += d.Packets
		sel.Dropped[i].Bytes += d.Bytes
	}
}

func (s *summary) selection() *textegress.Selection {
	if s.m.Selection == nil {
		s.m.Selection = &textegress.Selection{
			Rules:   []textegress.SelectionRules{},
			Dropped: []textegress.Dropped{},
		}
	}
	return s.m.Selection
}

// forgotten notes how much was removed.
func (s *summary) forgotten(f textegress.Forgotten) {
	if f.Frames > 0 {
		s.m.Forgotten = &f
	}
}
