package controller

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// LimitError means that a request names something that the lists of the project exclude.
type LimitError struct {
	Entry   string // as requested; an identity if Setting is that of identities
	Setting string // the setting of the project that refuses it; "" if the entry is malformed
	Err     error  // what is wrong with a malformed entry
}

// Error implements error.
func (e *LimitError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("the entry %q is malformed: %v", e.Entry, e.Err)
	case strings.HasSuffix(e.Setting, "_DENY"):
		return fmt.Sprintf("%q is not recorded in this project: its setting %s excludes it",
			e.Entry, e.Setting)
	}
	return fmt.Sprintf("%q is not recorded in this project: its setting %s does not contain it",
		e.Entry, e.Setting)
}

// Unwrap returns what is wrong with a malformed entry.
func (e *LimitError) Unwrap() error { return e.Err }

// limitsOf returns the rules of a recording with the given limits, nil without limits. An entry
// that the project's lists allow in part remains in the rules. If no topic or no participant
// remains, the rules allow none. refused contains the entries that are excluded in whole or in
// part.
func (c *Controller) limitsOf(l session.Limits) (own *textegress.SelectionRules,
	refused []*LimitError,
) {
	if l.IsZero() {
		return nil, nil
	}
	own = &textegress.SelectionRules{}
	p := c.selection()
	limit := func(kind string, allow, deny, entries []string) (kept, none []string) {
		for _, r := range filter.Check(allow, deny, entries) {
			e := &LimitError{Entry: r.Entry, Err: r.Err}
			if r.Err == nil {
				e.Setting = kind + "_" + strings.ToUpper(r.List)
			}
			refused = append(refused, e)
			if !r.Part {
				entries = without(entries, r.Entry)
			}
		}
		if len(entries) == 0 {
			return nil, filter.Nothing()
		}
		return entries, nil
	}
	if len(l.Topics) > 0 {
		own.TopicsAllow, own.TopicsDeny = limit("TOPICS", p.TopicsAllow, p.TopicsDeny, l.Topics)
	}
	if len(l.Participants) > 0 {
		own.IdentitiesAllow, own.IdentitiesDeny = limit("IDENTITIES", p.IdentitiesAllow,
			p.IdentitiesDeny, l.Participants)
	}
	return own, refused
}

// without returns list without an entry. It does not change list.
func without(list []string, entry string) []string {
	var out []string
	for _, e := range list {
		if e != entry {
			out = append(out, e)
		}
	}
	return out
}

// creatorLimits returns the rules for the limits that a room's creator requested, and logs that the
// project's lists exclude some entries.
func (c *Controller) creatorLimits(sessionID string, l session.Limits) *textegress.SelectionRules {
	own, refused := c.limitsOf(l)
	if len(refused) == 0 {
		return own
	}
	seen := map[string]bool{}
	var settings []string
	for _, r := range refused {
		if s := r.Setting; s != "" && !seen[s] {
			seen[s], settings = true, append(settings, s)
		}
	}
	// The entries may be identities, which are not logged.
	c.log.Warn("a room's creator asks to record what the project's lists leave out, or entries "+
		"that are malformed: these are not recorded", "session_id", sessionID,
		"entries", len(refused), "settings", settings)
	return own
}

// rules returns the rules in force for a recording: those of the project, within the limits of the
// recording.
func (c *Controller) rules(info spool.Info) textegress.SelectionRules {
	if info.Selection == nil {
		return c.selection()
	}
	return filter.Narrow(c.selection(), *info.Selection)
}

// selection returns the rules of the project.
func (c *Controller) selection() textegress.SelectionRules {
	if rules := c.reloaded.Load(); rules != nil {
		return *rules
	}
	return c.o.Selection
}

// Select replaces the rules of the project. Recordings under way keep those of their start beside
// them, and state the change; [Options.Selection].ExcludeByAttribute stays. An error means that a
// recording does not state the rules yet, although they are in force there; a repeated call states
// them.
func (c *Controller) Select(rules textegress.SelectionRules) error {
	rules.ExcludeByAttribute = c.o.Selection.ExcludeByAttribute
	c.mu.Lock() // so that a recording that begins now has them from its start
	c.reloaded.Store(&rules)
	c.mu.Unlock()
	var errs []error
	for _, r := range c.running() {
		rec, ok := c.o.Spool.Recording(r.ID())
		if !ok {
			continue
		}
		if err := r.Select(c.rules(rec.Info())); err != nil {
			errs = append(errs, fmt.Errorf("recording %s: the record does not state the new "+
				"lists yet; reload again: %w", r.ID(), err))
		}
	}
	return errors.Join(errs...)
}

// both combines two sets of rules: the result allows what both allow. nil: no limits.
func both(a, b *textegress.SelectionRules) *textegress.SelectionRules {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	rules := filter.Narrow(*a, *b)
	return &rules
}

// setOptions sets the selection and the delivery options of a request.
func (c *Controller) setOptions(info *spool.Info, q request) {
	info.Selection = q.selection
	if !q.api {
		info.Selection = c.creatorLimits(q.SessionID, q.Limits)
	}
	info.RequestID, info.Prefix, info.Webhooks = q.requestID, q.prefix, q.webhooks
}

// inheritOptions sets the options of the part that follows the recording was. Only a new API
// request replaces them. If the room's creator withdrew and opted in again, new limits may apply;
// the limits of an API request or an operator then still apply as well.
func (c *Controller) inheritOptions(info *spool.Info, was spool.Info, q request) {
	if q.api {
		c.setOptions(info, q)
		return
	}
	info.Selection, info.RequestID = was.Selection, was.RequestID
	info.Prefix, info.Webhooks = was.Prefix, was.Webhooks
	if !q.relimited {
		return
	}
	own := c.creatorLimits(q.SessionID, q.Limits)
	if was.Source == sourceAPI || was.Source == sourceCommand {
		own = both(was.Selection, own)
	}
	info.Selection = own
}
