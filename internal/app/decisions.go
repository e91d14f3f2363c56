package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/web"
)

// StopRecording implements [web.Service]. A session is stopped with the latest of its recordings.
func (a *App) StopRecording(ctx context.Context, id string) (egressID string, err error) {
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil {
			continue
		}
		rec, ok := a.spool.Recording(id)
		if !ok || rec.Info().ProjectID != p.Config.ProjectID {
			rec, ok = a.spool.Latest(p.Config.ProjectID, id)
		}
		if !ok {
			continue
		}
		if err := p.ctl.Stop(ctx, rec.ID()); err != nil {
			return "", fmt.Errorf("stop recording %s: %w", rec.ID(), err)
		}
		return rec.ID(), nil
	}
	return "", fmt.Errorf("%w: %q is neither the id of a recording nor of a session of a running "+
		"project; `textegress list` has them", controller.ErrNoRecording, id)
}

// Exclude implements [web.Service].
func (a *App) Exclude(ctx context.Context, q web.ExcludeRequest) (web.ExcludeAnswer, error) {
	var answer web.ExcludeAnswer
	if rec, ok := a.spool.Recording(q.SessionID); ok {
		if i := rec.Info(); q.Project == "" || q.Project == i.ProjectID {
			q.SessionID, q.Project = i.SessionID, i.ProjectID
		}
	}
	var failed, missing []error
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil || q.Project != "" && p.Config.ProjectID != q.Project {
			continue
		}
		present, err := p.ctl.Exclude(ctx, controller.Exclusion{
			Identity: a.identityOf(p, q), SessionID: q.SessionID, Undo: q.Undo,
		})
		if errors.Is(err, controller.ErrNoSession) || errors.Is(err, controller.ErrNotExcluded) {
			missing = append(missing, fmt.Errorf("project %d: %w", p.Config.Index, err))
			continue
		}
		answer.Projects++
		answer.Present += present
		if err != nil {
			failed = append(failed, fmt.Errorf("project %d: %w", p.Config.Index, err))
		}
	}
	switch {
	case len(failed) > 0:
		return answer, errors.Join(failed...)
	case answer.Projects > 0:
		return answer, nil
	case len(missing) > 0:
		return answer, errors.Join(missing...)
	}
	return answer, fmt.Errorf("no running project of this service has the id %q", q.Project)
}

// identityOf returns the identity behind a pseudonym of a project, or the identity as it is given.
func (a *App) identityOf(p managedProject, q web.ExcludeRequest) string {
	// Sessions continue under pseudonyms after the setting has been removed.
	names, err := a.pseudonyms.Names(p.Config.ProjectID, "")
	if err != nil { // the project has, or had, none
		return q.Identity
	}
	for _, identity := range a.knownIdentities(p, q.SessionID) {
		if names.Of(identity) == q.Identity {
			return identity
		}
	}
	return q.Identity
}

// knows reports whether a request names somebody of whom a project it concerns has heard.
func (a *App) knows(q web.ExcludeRequest) bool {
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil || q.Project != "" && p.Config.ProjectID != q.Project {
			continue
		}
		if slices.Contains(a.knownIdentities(p, q.SessionID), a.identityOf(p, q)) {
			return true
		}
	}
	return false
}

// knownIdentities returns identities that may belong to a pseudonym: of those who are, or were, in
// a session under way, who are expected or excluded, or in a recording that was delivered.
func (a *App) knownIdentities(p managedProject, sessionID string) []string {
	var out []string
	add := func(project, session string) {
		if excluded, err := a.spool.Excluded(project, session); err == nil {
			out = append(out, excluded...)
		}
	}
	add(p.Config.ProjectID, sessionID)
	for _, r := range p.ctl.Snapshot().Recorders {
		people, _ := p.ctl.People(r.Info.EgressID)
		for _, q := range people {
			out = append(out, q.Identity)
		}
		add(p.Config.ProjectID, r.Info.SessionID)
	}
	for _, e := range p.roster.roster.Entries() {
		out = append(out, e.Identity)
	}
	list, _ := a.pseudonyms.List(p.Config.ProjectID) // the others are known without it
	for _, e := range list {
		out = append(out, e.Identity)
	}
	return out
}
