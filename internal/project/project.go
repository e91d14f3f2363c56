// Package project creates the parts of one configured project: its registry, its sources, its
// bucket, its keys and its selection rules. The service and the commands share it.
package project

import (
	"fmt"
	"log/slog"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/s3"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/source/webhook"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// Options are the parts that all projects of a process share.
type Options struct {
	Instance string
	DataDir  string
	Gate     *syncflow.Gate // of the SyncFlow server, which is one for all projects
	// NewSource creates the source of a SyncFlow project's announcements; nil: a [rabbitmq.Source].
	NewSource func(rabbitmq.Options) session.Source
	// Webhooks receives the webhooks of LiveKit servers; nil: none are received.
	Webhooks *webhook.Endpoint
	Logger   *slog.Logger
	// Metrics of the parts; nil: not exported.
	SyncFlowMetrics *syncflow.Metrics
	RabbitMQMetrics *rabbitmq.Metrics
}

// Project is one configured project with its parts.
type Project struct {
	Config   config.Project
	Bucket   objstore.Bucket // nil: BucketError says why; recordings wait on disk
	Keys     *render.Keys    // of encrypted rooms; nil: none
	Rules    textegress.SelectionRules
	Registry session.Registry // nil: the project cannot be recorded
	Sources  []session.Source

	// RoomUpdated is to be called with a room that is being recorded when its metadata may have
	// changed; nil: there is no need to.
	RoomUpdated func(session.Room)

	BucketError error

	setKey func(config.Project) error // replaces the key of the registry
}

// New creates the parts of a project. It starts nothing and makes no request, except that it checks
// a bucket that is a directory. If the project cannot be recorded, New returns an error and the
// parts that could be created, so that earlier recordings may still be delivered.
func New(c *config.Config, pc config.Project, o Options) (Project, error) {
	p := Project{Config: pc, Rules: Rules(pc)}
	var err error
	if p.Bucket, p.BucketError = Bucket(pc); p.BucketError != nil { // no reason not to record
		o.Logger.Error("recordings of a project wait on disk: they cannot be delivered",
			"project", pc.Index, "error", p.BucketError)
	}
	if d, ok := p.Bucket.(*dir.Bucket); ok {
		if err := d.Check(); err != nil { // no reason not to record
			o.Logger.Error("recordings of a project cannot be delivered to its directory",
				"project", pc.Index, "error", objstore.Redacted(err, "it cannot be used"))
		}
	}
	if p.Keys, err = Keys(pc); err != nil { // no reason not to record
		o.Logger.Error("the key of a project is invalid; its encrypted packets are delivered as "+
			"they are", "project", pc.Index, "error", err)
	}
	if _, err := filter.New(p.Rules); err != nil { // checked with the configuration already
		return p, fmt.Errorf("invalid topic or identity list: %w", err)
	}
	if pc.Platform() == config.LiveKitServer {
		err = p.liveKit(c, o)
	} else {
		err = p.syncFlow(c, o)
	}
	return p, err
}

// SetKeys replaces the keys of the project with those of n, the new settings of the same project.
// The address of a LiveKit server stays as it is.
func (p *Project) SetKeys(n config.Project) error {
	if err := p.setKey(n); err != nil {
		return err
	}
	liveKit := n.LiveKit
	if p.Config.LiveKit != nil && n.LiveKit != nil {
		same := *n.LiveKit
		same.URL = p.Config.LiveKit.URL
		liveKit = &same
	}
	p.Config.Key, p.Config.Secret, p.Config.LiveKit = n.Key, n.Secret, liveKit
	return nil
}

// KeyPrefix returns the function that gives the key prefix of a recording on a platform.
func KeyPrefix(of config.Platform) func(spool.Info) string {
	return func(i spool.Info) string {
		switch {
		case of == config.LiveKitServer:
			return i.RoomPrefix(i.ProjectName)
		case i.Prefix != "":
			return i.RoomPrefix(i.ProjectName + "-" + i.ProjectID)
		}
		return textegress.Prefix(i.ProjectName, i.ProjectID, i.RoomName, i.Topic, i.EgressID)
	}
}

// Bucket returns the bucket to which a project's recordings are delivered.
func Bucket(p config.Project) (objstore.Bucket, error) {
	if p.Directory != "" {
		b, err := dir.New(p.Directory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Variable("DIRECTORY"), err)
		}
		return b, nil
	}
	b, err := s3.New(s3.Options{
		AccessKey: p.S3.AccessKey, SecretKey: p.S3.SecretKey.Reveal(), Endpoint: p.S3.Endpoint,
		Bucket: p.S3.Bucket, Region: p.S3.Region,
		PathStyle: p.S3.PathStyle, Checksums: p.S3.Checksums,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Variable("S3_CONFIG"), err)
	}
	return b, nil
}

// Keys returns the keys that decrypt a project's encrypted rooms; nil if there are none.
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
			return nil, fmt.Errorf("%s: %w", p.Variable(k.name), err)
		}
		keys = keys.Merge(more)
	}
	return keys, nil
}

// Rules returns the selection rules of a project.
func Rules(p config.Project) textegress.SelectionRules {
	s := p.Selection
	return textegress.SelectionRules{
		TopicsAllow: s.TopicsAllow, TopicsDeny: s.TopicsDeny, IdentitiesAllow: s.IdentitiesAllow,
		IdentitiesDeny: s.IdentitiesDeny,
		EncryptedKept:  s.KeepEncrypted, ExcludeByAttribute: p.ExcludeByAttribute,
	}
}

// LiveKitKey returns the key of a project's LiveKit server, if it has one.
func LiveKitKey(p config.Project) (livekit.Key, bool) {
	if p.LiveKit == nil {
		return livekit.Key{}, false
	}
	return livekit.Key{ID: p.LiveKit.APIKey, Secret: p.LiveKit.APISecret.Reveal()}, true
}

// Pseudonyms returns the pseudonyms under which a recording is delivered.
func Pseudonyms(s *pseudonym.Store, info spool.Info) (redact.Pseudonyms, error) {
	names, err := s.Names(info.ProjectID, info.PseudonymKey)
	if err != nil {
		return nil, err
	}
	return names, nil
}
