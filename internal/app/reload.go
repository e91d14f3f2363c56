package app

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/web"
)

// reloadable are the settings of the whole service that a reload can change.
var reloadable = []string{
	"LOG_LEVEL", "RETENTION", "ROSTER_GRACE", "SHUTDOWN_TIMEOUT",
	"HTTP_USERS_FILE", "HTTP_BEARER_TOKEN_FILE", "HTTP_OPERATORS",
}

// Reload reads the settings again and applies those that can change while the service runs: the
// bucket, the keys and the roster of a project, projects that are new or were broken, and the
// settings marked as reloadable. If the settings are invalid or would break a running project, it
// applies none of them and returns an error. After a successful reload, every waiting delivery is
// due.
//
// A delivery in progress finishes in the bucket in which it started, so that it is complete in one
// bucket. A project that is no longer in the settings keeps running until a restart, so that a
// mistake interrupts no recording.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	status := &web.ReloadStatus{At: time.Now().UTC()}
	err := a.reload(status)
	if err != nil {
		status.Error = err.Error()
		a.log.Error("settings not changed: the new ones are invalid", "error", err)
	} else {
		if len(status.Applied) > 0 {
			a.log.Info("settings read again", "applied", status.Applied)
		} else {
			a.log.Info("settings read again: nothing that takes effect now has changed")
		}
		if len(status.NeedsRestart) > 0 {
			a.log.Warn("some new settings need a restart", "settings", status.NeedsRestart)
		}
	}
	a.mu.Lock()
	a.lastReload = status
	a.mu.Unlock()
	return err
}

func (a *App) reload(status *web.ReloadStatus) error {
	if a.o.Load == nil {
		return errors.New("there are no settings to read again")
	}
	next, err := a.o.Load()
	if err != nil {
		return err
	}
	for _, warning := range next.Warnings {
		a.log.Warn("configuration warning", "warning", warning)
	}
	// Everything that can fail comes first. Only reloads change projects, so the projects read here
	// stay the same.
	buckets, err := a.newBuckets(next)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range a.snapshotProjects() {
		if p.ctl != nil {
			known[p.Config.ProjectID] = true
		}
	}
	var added []*managedProject
	for _, pc := range next.Projects {
		if !known[pc.ProjectID] {
			added = append(added, a.setUpProject(next, pc))
		}
	}
	for _, b := range next.Broken {
		added = append(added, a.brokenProject(b))
	}
	a.commit(next, buckets, a.readRosters(next), added, status)
	a.applyLists(status)
	if err := a.loadAccess(next.HTTP); err != nil {
		// No reason to do without the other settings.
		status.Error = strings.TrimPrefix(status.Error+"; logins and certificate are as before: "+
			err.Error(), "; ")
		a.log.Error("logins and certificate are not read again", "error", err)
	}

	if a.o.LogLevel != nil {
		a.o.LogLevel.Set(next.LogLevel)
	}
	a.dispatcher.SetRetention(next.Retention)
	for _, p := range a.snapshotProjects() {
		a.dispatcher.Retry(p.Config.ProjectID)
	}
	return nil
}

// applyLists makes the recordings under way follow the lists of their projects.
func (a *App) applyLists(status *web.ReloadStatus) {
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil {
			continue
		}
		if err := p.ctl.Select(p.Rules); err != nil {
			status.Error = err.Error()
			a.log.Error("the lists of a project are in force, and a record does not state them yet",
				"project", p.Config.Index, "error", err)
		}
	}
}

// newBuckets returns the buckets of the running projects whose settings have changed, by project
// id. Its error lists every running project that the new settings would break.
func (a *App) newBuckets(next *config.Config) (map[string]objstore.Bucket, error) {
	buckets := map[string]objstore.Bucket{}
	var errs []error
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil {
			continue
		}
		for _, b := range next.Broken {
			if b.ProjectID == p.Config.ProjectID || b.ProjectID == "" && b.Index == p.Config.Index {
				errs = append(errs, fmt.Errorf("project %d: %s", b.Index, problemText(b)))
			}
		}
		n, ok := find(next, p.Config.ProjectID)
		if !ok || sameBucket(p.Config, n) {
			continue
		}
		b, err := project.Bucket(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		buckets[n.ProjectID] = b
	}
	return buckets, errors.Join(errs...)
}

// commit applies the new settings and states in status which ones it applied.
func (a *App) commit(next *config.Config, buckets map[string]objstore.Bucket,
	rosters map[string]rosterState, added []*managedProject, status *web.ReloadStatus,
) {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed := a.config.Changes(next)
	a.config = next
	for _, name := range reloadable {
		if slices.Contains(changed, name) {
			status.Applied = append(status.Applied, name)
		}
	}
	for _, name := range a.o.Config.Changes(next) {
		_, _, ofProject := config.ProjectSetting(name)
		if !ofProject && !slices.Contains(reloadable, name) {
			status.NeedsRestart = append(status.NeedsRestart, name)
		}
	}
	var kept []*managedProject
	for _, p := range a.projects {
		if p.ctl == nil {
			continue // broken: added anew, if it is still there
		}
		kept = append(kept, p)
		n, ok := find(next, p.Config.ProjectID)
		if !ok {
			status.NeedsRestart = append(status.NeedsRestart,
				fmt.Sprintf("project %s was removed", p.Config.ProjectID))
			continue
		}
		if b := buckets[n.ProjectID]; b != nil {
			p.Bucket, p.Config.S3, p.Config.Directory = b, n.S3, n.Directory
			p.BucketError = nil
			status.Applied = append(status.Applied, ofProject(changed, n.Index, ofBucket)...)
		}
		if names, err := p.setKeys(n, changed); err != nil {
			a.log.Error("the keys of a project are not changed", "project", n.Index, "error", err)
		} else {
			status.Applied = append(status.Applied, names...)
		}
		status.Applied = append(status.Applied, p.setView(n, rosters[n.ProjectID], changed)...)
		status.Applied = append(status.Applied, ofProject(changed, n.Index, ofLists)...)
		p.Config.Selection, p.Rules = n.Selection, project.Rules(n)
		// Under a different number, every setting would appear to have changed.
		if p.Config.Index == n.Index {
			status.NeedsRestart = append(status.NeedsRestart,
				ofProject(p.initial.Changes(next), n.Index, ofStart)...)
		} else {
			status.NeedsRestart = append(status.NeedsRestart,
				fmt.Sprintf("project %s has another number", n.ProjectID))
		}
	}
	for _, p := range added {
		if p.ctl != nil {
			status.Applied = append(status.Applied,
				fmt.Sprintf("project %s was added", p.Config.ProjectID))
			if a.intake != nil {
				a.run(p)
			}
		}
	}
	a.projects = append(kept, added...)
}

// Kinds of settings of a project.
const (
	ofBucket = iota // where its recordings are delivered
	ofKeys          // for the SyncFlow API and for LiveKit tokens
	ofView          // only what is shown of it
	ofLists         // what of its sessions is recorded
	ofStart         // all others: they need a restart
)

func kindOf(name string) int {
	switch strings.TrimSuffix(name, "_FILE") {
	case "KEY", "SECRET", "LIVEKIT__API_KEY", "LIVEKIT__API_SECRET":
		return ofKeys
	case "DIRECTORY":
		return ofBucket
	case "LIVE_TEXT", "ROSTER":
		return ofView
	case "TOPICS_ALLOW", "TOPICS_DENY", "IDENTITIES_ALLOW", "IDENTITIES_DENY", "ENCRYPTED":
		return ofLists
	}
	if strings.HasPrefix(name, "S3_CONFIG__") {
		return ofBucket
	}
	return ofStart
}

// ofProject returns the settings of one project and kind among names.
func ofProject(names []string, index, kind int) []string {
	var found []string
	for _, name := range names {
		if i, rest, ok := config.ProjectSetting(name); ok && i == index && kindOf(rest) == kind {
			found = append(found, name)
		}
	}
	return found
}

// setKeys makes a running project use the keys of n, without interrupting its broker connection or
// its recordings. It returns what was changed. a.mu is held.
func (p *managedProject) setKeys(n config.Project, changed []string) ([]string, error) {
	if p.Config.Key == n.Key && p.Config.Secret == n.Secret && sameLiveKitKey(p.Config, n) {
		return nil, nil
	}
	if err := p.SetKeys(n); err != nil {
		return nil, err
	}
	moved := p.Config.Index != n.Index
	p.ctl.SetKey(liveKitKey(n))
	p.ctl.Retry()
	if moved {
		return []string{fmt.Sprintf("keys of project %s", n.ProjectID)}, nil
	}
	return ofProject(changed, n.Index, ofKeys), nil
}

func find(c *config.Config, projectID string) (config.Project, bool) {
	i := slices.IndexFunc(c.Projects,
		func(p config.Project) bool { return p.ProjectID == projectID })
	if i < 0 {
		return config.Project{}, false
	}
	return c.Projects[i], true
}

// sameLiveKitKey reports whether a and b have the same LiveKit key.
func sameLiveKitKey(a, b config.Project) bool {
	if a.LiveKit == nil || b.LiveKit == nil {
		return a.LiveKit == b.LiveKit
	}
	return a.LiveKit.APIKey == b.LiveKit.APIKey && a.LiveKit.APISecret == b.LiveKit.APISecret
}

// sameBucket reports whether a and b deliver to the same bucket with the same credentials.
func sameBucket(a, b config.Project) bool {
	return a.Directory == b.Directory && reflect.DeepEqual(a.S3, b.S3)
}
