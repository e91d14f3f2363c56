package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/s3"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// parts are what all projects share.
type parts struct {
	gate       *syncflow.Gate // of the SyncFlow server, which is one for all projects
	room       recorder.Room
	source     func(rabbitmq.Options) session.Source
	controller *controller.Metrics
	recorder   *recorder.Metrics
	syncflow   *syncflow.Metrics
	rabbitmq   *rabbitmq.Metrics
}

// setUpProjects makes a controller for each project. A project that cannot be
// set up is reported and stops no other.
func (a *App) setUpProjects() {
	for _, b := range a.o.Config.Broken {
		a.projects = append(a.projects, a.brokenProject(b))
	}
	for _, pc := range a.o.Config.Projects {
		a.projects = append(a.projects, a.setUpProject(a.o.Config, pc))
	}
}

func (a *App) brokenProject(b config.BrokenProject) *project {
	a.log.Error("a project is not recorded: its configuration is wrong", "project", b.Index,
		"problems", problems(b))
	return &project{config: config.Project{Index: b.Index}, broken: problems(b)}
}

// setUpProject makes the parts of a project, one of the settings c. Nothing runs
// yet.
func (a *App) setUpProject(c *config.Config, pc config.Project) *project {
	p := &project{config: pc, began: c}
	if err := a.assemble(p); err != nil {
		p.broken = err.Error()
		a.log.Error("a project is not recorded: it cannot be set up", "project", pc.Index, "error",
			err)
	}
	return p
}

func (a *App) assemble(p *project) error {
	// What concerns the whole service is as it was at the start.
	c, pc := a.o.Config, p.config
	bucket, err := Bucket(pc)
	if err != nil {
		return err
	}
	p.bucket = bucket
	if d, ok := bucket.(*dir.Bucket); ok {
		if err := d.Check(); err != nil { // no reason not to record
			a.log.Error("recordings of a project cannot be delivered to its directory", "project",
				pc.Index, "error", objstore.Redacted(err, "it cannot be used"))
		}
	}
	if p.keys, err = Keys(pc); err != nil { // no reason not to record
		a.log.Error("encrypted packets of a project are delivered as they are: its key is "+
			"not understood", "project", pc.Index, "error", err)
	}
	if _, err := filter.New(rules(pc)); err != nil { // checked with the configuration already
		return fmt.Errorf("its lists are not understood: %w", err)
	}
	api, err := syncflow.New(syncflow.Options{
		BaseURL: c.ServerURL, Key: pc.Key, Secret: pc.Secret.Reveal(), ProjectID: pc.ProjectID,
		Gate: a.parts.gate, Logger: a.log, Metrics: a.parts.syncflow,
	})
	if err != nil {
		return err
	}
	p.api = api
	registry := syncflow.NewRegistry(api, c.DeviceGroup)
	so := SourceOptions(c, pc, a.instance, registry)
	so.Logger, so.Metrics = a.log, a.parts.rabbitmq
	so.Memory = newMarks(a.spool.Dir(), pc.ProjectID, c.DeviceGroup)
	p.ctl = controller.New(controller.Options{
		ProjectID: pc.ProjectID, Instance: a.instance,
		RecordAll: c.RecordSessions == config.RecordAll,
		Registry:  registry, Sources: []session.Source{a.parts.source(so)}, Spool: a.spool,
		Room:         a.parts.room,
		RejoinWindow: c.RejoinWindow,
		Key:          liveKitKey(pc), Selection: rules(pc), Pseudonyms: pc.Pseudonyms,
		PseudonymKey: a.pseudonymKey(pc),
		Sealed:       func() { a.dispatcher.Wake() }, Logger: a.log, Metrics: a.parts.controller,
		RecorderMetrics: a.parts.recorder,
	})
	return nil
}

// liveKitKey returns the project's key of LiveKit, nil if it has none.
func liveKitKey(p config.Project) controller.Key {
	if p.LiveKit == nil {
		return nil
	}
	return livekit.Key{ID: p.LiveKit.APIKey, Secret: p.LiveKit.APISecret.Reveal()}
}

// pseudonymKey names the key of a project's pseudonyms. Where it cannot be had, that is no reason
// not to record: what is recorded waits on disk until it can.
func (a *App) pseudonymKey(pc config.Project) string {
	if !pc.Pseudonyms {
		return ""
	}
	key, err := a.pseudonyms.Key(pc.ProjectID)
	if err != nil {
		a.log.Error("recordings of a project will wait on disk: the key of its pseudonyms "+
			"cannot be had", "project", pc.Index, "error", err)
		return ""
	}
	for _, rec := range a.spool.Recordings() {
		if i := rec.Info(); i.ProjectID == pc.ProjectID && i.PseudonymKey != "" &&
			i.PseudonymKey != key {
			a.log.Error("a project has another key for pseudonyms than before, so participants "+
				"have other pseudonyms: restore the old one from a backup",
				"project", pc.Index, "egress_id", i.EgressID, "key_then", i.PseudonymKey, "key_now",
				key)
			break
		}
	}
	return key
}

// PseudonymsFor returns how an exporter finds the pseudonyms of a recording.
func PseudonymsFor(s *pseudonym.Store) func(spool.Info) (redact.Pseudonyms, error) {
	return func(info spool.Info) (redact.Pseudonyms, error) {
		names, err := s.Names(info.ProjectID, info.PseudonymKey)
		if err != nil {
			return nil, err
		}
		return names, nil
	}
}

// rules are what a project allows to be recorded.
func rules(p config.Project) textegress.SelectionRules {
	s := p.Selection
	return textegress.SelectionRules{
		TopicsAllow: s.TopicsAllow, TopicsDeny: s.TopicsDeny, IdentitiesAllow: s.IdentitiesAllow,
		IdentitiesDeny: s.IdentitiesDeny,
		EncryptedKept:  s.KeepEncrypted,
	}
}

// run begins to record a project. a.mu is held and a.intake set.
func (a *App) run(p *project) {
	if ctl, ctx := p.ctl, a.intake; ctl != nil {
		a.controllers.Go(func() { ctl.Run(ctx) })
	}
}

// all returns the projects as they are now.
func (a *App) all() []project {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []project
	for _, p := range a.projects {
		list = append(list, *p)
	}
	return list
}

// problems lists what is wrong with a project's configuration in one line.
func problems(b config.BrokenProject) string {
	var list []string
	for _, p := range b.Problems {
		list = append(list, p.String())
	}
	return strings.Join(list, "; ")
}

// Bucket returns where a project's recordings are delivered.
func Bucket(p config.Project) (objstore.Bucket, error) {
	if p.Directory != "" {
		b, err := dir.New(p.Directory)
		if err != nil {
			return nil, fmt.Errorf("PROJECTS__%d__DIRECTORY: %w", p.Index, err)
		}
		return b, nil
	}
	b, err := s3.New(s3.Options{
		AccessKey: p.S3.AccessKey, SecretKey: p.S3.SecretKey.Reveal(), Endpoint: p.S3.Endpoint,
		Bucket: p.S3.Bucket, Region: p.S3.Region,
		PathStyle: p.S3.PathStyle, Checksums: p.S3.Checksums,
	})
	if err != nil {
		return nil, fmt.Errorf("PROJECTS__%d__S3_CONFIG: %w", p.Index, err)
	}
	return b, nil
}

// Keys returns what decrypts a project's encrypted rooms; nil if there is nothing.
func Keys(p config.Project) (*render.Keys, error) {
	var keys *render.Keys
	for _, k := range []struct {
		name string
		text config.Secret
	}{{"E2EE_KEY", p.E2EEKey}, {"E2EE_KEY_FILE", p.E2EEKeys}} {
		if k.text.IsZero() {
			continue
		}
		more, err := render.NewKeys([]byte(k.text.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("PROJECTS__%d__%s: %w", p.Index, k.name, err)
		}
		keys = keys.Merge(more)
	}
	return keys, nil
}

// keysFor returns what decrypts the recordings of a project of the configuration.
func (a *App) keysFor(projectID string) *render.Keys {
	for _, p := range a.all() {
		if p.config.ProjectID == projectID {
			return p.keys
		}
	}
	return nil
}

// SourceOptions describes a project's queue at the broker. Logger and Metrics
// are left to the caller.
func SourceOptions(c *config.Config, p config.Project, instance string,
	registry *syncflow.Registry,
) rabbitmq.Options {
	q := c.RabbitMQ
	return rabbitmq.Options{
		Host: q.Host, Port: q.Port, VHost: q.VHost, TLS: q.TLS, CAFile: q.CAFile,
		Username: q.Username, Password: q.Password.Reveal(),
		Group: c.DeviceGroup, ProjectID: p.ProjectID, Instance: instance,
		ProjectIndex: strconv.Itoa(p.Index),
		Token:        registry.ProjectToken,
		Binding: func(ctx context.Context) (rabbitmq.Binding, error) {
			d, err := registry.Device(ctx)
			if err != nil {
				return rabbitmq.Binding{}, err
			}
			return rabbitmq.Binding{Exchange: d.ExchangeName, RoutingKey: d.BindingKey}, nil
		},
		Announces: registry.Announces,
	}
}

// bucketFor returns the bucket of a project of the configuration.
func (a *App) bucketFor(projectID string) (objstore.Bucket, error) {
	for _, p := range a.all() {
		if p.config.ProjectID == projectID && p.bucket != nil {
			return p.bucket, nil
		}
	}
	return nil, fmt.Errorf("project %s is not in the configuration, or its bucket cannot be set "+
		"up: its recordings wait on disk", projectID)
}
