package app

import (
	"fmt"
	"strings"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/notify"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// shared holds the parts that all projects share.
type shared struct {
	project    project.Options
	room       recorder.Room
	controller *controller.Metrics
	recorder   *recorder.Metrics
}

// setUpProjects makes a controller for each project. It reports a project that cannot be set up and
// continues with the others.
func (a *App) setUpProjects() {
	for _, b := range a.o.Config.Broken {
		a.projects = append(a.projects, a.brokenProject(b))
	}
	for _, pc := range a.o.Config.Projects {
		a.projects = append(a.projects, a.setUpProject(a.o.Config, pc))
	}
}

func (a *App) brokenProject(b config.BrokenProject) *managedProject {
	a.log.Error("a project is not recorded: invalid configuration", "project", b.Index,
		"problems", problemText(b))
	return &managedProject{
		Project: project.Project{Config: config.Project{Index: b.Index}}, broken: problemText(b),
	}
}

// setUpProject creates one project of the settings c with its controller. It starts nothing.
func (a *App) setUpProject(c *config.Config, pc config.Project) *managedProject {
	// Settings of the whole service keep their values from the start.
	parts, err := project.New(a.o.Config, pc, a.shared.project)
	p := &managedProject{
		Project: parts, initial: c, roster: readRoster(pc, rosterState{}, a.log),
	}
	if err != nil {
		p.broken = err.Error()
		a.log.Error("a project is not recorded: it cannot be set up", "project", pc.Index, "error",
			err)
		return p
	}
	if _, err := a.spool.Excluded(pc.ProjectID, ""); err != nil {
		p.broken = err.Error()
		a.log.Error("a project is not recorded", "project", pc.Index, "error", err)
		return p
	}
	p.ctl = controller.New(controller.Options{
		ProjectID: pc.ProjectID, Instance: a.instance,
		RecordAll:     a.o.Config.RecordSessions == config.RecordAll,
		ListAnnounced: pc.Platform() == config.LiveKitServer,
		Registry:      p.Registry, Sources: p.Sources, Spool: a.spool, Room: a.shared.room,
		RoomUpdated:  p.RoomUpdated,
		KeyPrefix:    project.KeyPrefix(pc.Platform()),
		RejoinWindow: a.o.Config.RejoinWindow, Key: liveKitKey(pc), Selection: p.Rules,
		Pseudonyms: pc.Pseudonyms, PseudonymKey: a.pseudonymKey(pc),
		Started: a.wakeNotifier, Sealed: a.recordingChanged,
		Logger: a.log, Metrics: a.shared.controller,
		RecorderMetrics: a.shared.recorder,
	})
	return p
}

// liveKitKey returns the project's LiveKit key, nil if it has none.
func liveKitKey(p config.Project) controller.Key {
	if key, ok := project.LiveKitKey(p); ok {
		return key
	}
	return nil
}

// pseudonymKey names the key of a project's pseudonyms. A missing key does not prevent recording:
// the recordings wait on disk until the key is available.
func (a *App) pseudonymKey(pc config.Project) string {
	if !pc.Pseudonyms {
		return ""
	}
	key, err := a.pseudonyms.Key(pc.ProjectID)
	if err != nil {
		a.log.Error("recordings of a project will wait on disk: cannot read the key of its "+
			"pseudonyms", "project", pc.Index, "error", err)
		return ""
	}
	for _, rec := range a.spool.Recordings() {
		if i := rec.Info(); i.ProjectID == pc.ProjectID && i.PseudonymKey != "" &&
			i.PseudonymKey != key {
			a.log.Error("the key for a project's pseudonyms has changed, so participants "+
				"have other "+
				"pseudonyms than before: restore the old key from a backup",
				"project", pc.Index, "egress_id", i.EgressID, "key_then", i.PseudonymKey, "key_now",
				key)
			break
		}
	}
	return key
}

// recordingChanged is called when a recording was sealed.
func (a *App) recordingChanged() {
	a.dispatcher.Wake()
	a.wakeNotifier()
}

// wakeNotifier is called when a recording was started or delivered.
func (a *App) wakeNotifier() { a.notifier.Wake() }

// subscriptions returns the settings of the webhooks of all projects, by project id.
func (a *App) subscriptions() map[string]notify.Project {
	all := map[string]notify.Project{}
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil {
			continue
		}
		key, _ := project.LiveKitKey(p.Config)
		n := notify.Project{Name: fmt.Sprintf("project %d", p.Config.Index), Key: key}
		for _, w := range p.Config.Webhooks {
			s := notify.Subscription{
				URL: w.URL, Key: livekit.Key{ID: w.APIKey, Secret: w.APISecret.Reveal()},
				Events: w.Events, MaxAge: w.MaxAge,
			}
			for _, entry := range w.Topics {
				if t, err := pattern.Parse(entry); err == nil { // the settings were checked
					s.Topics = append(s.Topics, t)
				}
			}
			if w.APIKey == "" {
				s.Key = key
			}
			n.Subscriptions = append(n.Subscriptions, s)
		}
		all[p.Config.ProjectID] = n
	}
	return all
}

// logServer logs what is recorded of a LiveKit server, where it is delivered, and what to set for a
// bucket.
func (a *App) logServer(p managedProject) {
	if p.ctl == nil || p.Config.Platform() != config.LiveKitServer {
		return
	}
	rooms := strings.Join(p.Config.RecordRooms, ", ")
	if rooms == "*" {
		rooms = "all"
	}
	args := []any{
		"project", p.Config.Index, "project_id", p.Config.ProjectID, "livekit", p.Config.LiveKit.URL, "rooms", rooms,
	}
	if p.Bucket != nil {
		args = append(args, "delivered_to", p.Bucket.String())
	}
	if p.Config.Directory != "" {
		args = append(args, "for_a_bucket", "set "+p.Config.Variable("S3_CONFIG__…"))
	}
	a.log.Info("recording the data of LiveKit rooms", args...)
}

// run starts recording a project. a.mu is held and a.intake set.
func (a *App) run(p *managedProject) {
	if ctl, ctx := p.ctl, a.intake; ctl != nil {
		a.controllers.Go(func() { ctl.Run(ctx) })
	}
}

// snapshotProjects returns a copy of the current projects.
func (a *App) snapshotProjects() []managedProject {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []managedProject
	for _, p := range a.projects {
		list = append(list, *p)
	}
	return list
}

// problemText lists the problems of a project's configuration in one line.
func problemText(b config.BrokenProject) string {
	var list []string
	for _, p := range b.Problems {
		list = append(list, p.String())
	}
	return strings.Join(list, "; ")
}

// liveProjects gives access to the current projects of the service. It implements
// [delivery.Projects].
type liveProjects struct{ *App }

// Bucket implements [delivery.Projects].
func (l liveProjects) Bucket(projectID string) (objstore.Bucket, error) {
	for _, p := range l.snapshotProjects() {
		if p.Config.ProjectID == projectID && p.Bucket != nil {
			return p.Bucket, nil
		}
	}
	return nil, fmt.Errorf("project %s is not in the configuration, or its bucket cannot be set "+
		"up: its recordings wait on disk", projectID)
}

// Keys implements [delivery.Projects].
func (l liveProjects) Keys(projectID string) *render.Keys {
	for _, p := range l.snapshotProjects() {
		if p.Config.ProjectID == projectID {
			return p.Keys
		}
	}
	return nil
}

// Pseudonyms implements [delivery.Projects].
func (l liveProjects) Pseudonyms(info spool.Info) (redact.Pseudonyms, error) {
	return project.Pseudonyms(l.pseudonyms, info)
}
