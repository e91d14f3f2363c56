package app

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/project"
)

// maxFailures bounds how many different failures of one project's deliveries are listed.
const maxFailures = 5

// unusable lists the buckets that could not be set up, and the directories that cannot hold
// recordings.
func unusable(projects []managedProject) []string {
	var out []string
	for _, p := range projects {
		if p.BucketError != nil {
			out = append(out, fmt.Sprintf("project %d: nothing can be delivered: %s",
				p.Config.Index, p.BucketError))
		}
		if d, ok := p.Bucket.(*dir.Bucket); ok {
			if err := d.Problem(); err != nil {
				out = append(out, fmt.Sprintf("project %d: nothing can be delivered: %s",
					p.Config.Index, objstore.Redacted(err, "its directory cannot be used")))
			}
		}
	}
	return out
}

// checkUnusable checks the directories of unusable again.
func checkUnusable(projects []managedProject) {
	for _, p := range projects {
		if d, ok := p.Bucket.(*dir.Bucket); ok && d.Problem() != nil {
			d.Check() //nolint:errcheck // Problem returns the error
		}
	}
}

// retryBuckets sets up the buckets that could not be set up before.
func (a *App) retryBuckets() {
	for _, p := range a.snapshotProjects() {
		if p.BucketError == nil {
			continue
		}
		bucket, err := project.Bucket(p.Config)
		a.mu.Lock()
		for _, q := range a.projects {
			if q.Config.ProjectID == p.Config.ProjectID && q.BucketError != nil {
				q.Bucket, q.BucketError = bucket, err
			}
		}
		a.mu.Unlock()
		if err == nil {
			a.log.Info("recordings of a project can be delivered now", "project", p.Config.Index)
			a.dispatcher.Retry(p.Config.ProjectID)
		}
	}
}

// undelivered lists failing deliveries with their reasons, for the operator: those that need
// operator action at once, others after they have been failing for [delivery.FailingAfter]. The
// list includes recordings of projects that are no longer in the configuration, because they will
// not be delivered.
func undelivered(projects []managedProject, s delivery.Snapshot) []string {
	names := map[string]string{}
	for _, p := range projects {
		if p.Config.ProjectID != "" {
			names[p.Config.ProjectID] = fmt.Sprintf("project %d", p.Config.Index)
		}
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.Projects)) {
		name := names[id]
		if name == "" {
			name = "project " + id
		}
		failing := slices.SortedFunc(slices.Values(s.Projects[id].Failing),
			func(a, b delivery.Failure) int { return a.Since.Compare(b.Since) })
		for i, f := range failing {
			if i == maxFailures {
				out = append(out, fmt.Sprintf("%s: %d more deliveries fail, see upload_error in "+
					"/status.json", name, len(failing)-i))
				break
			}
			others := ""
			if f.Others > 0 {
				others = fmt.Sprintf(" and %d others", f.Others)
			}
			out = append(out, fmt.Sprintf("%s: recording %s%s not delivered since %s: %s",
				name, f.EgressID, others, f.Since.UTC().Format(time.RFC3339), f.Error))
		}
	}
	return out
}
