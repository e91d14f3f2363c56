package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/poll"
	"github.com/syncflow/textegress/internal/source/webhook"
)

// LiveKitRegistry returns the registry of a project that is a LiveKit server.
func LiveKitRegistry(p config.Project, log *slog.Logger) (*livekit.Registry, error) {
	policy, err := livekit.NewPolicy(p.RecordRooms)
	if err != nil { // checked with the configuration already
		return nil, fmt.Errorf("%s: %w", p.Variable("RECORD_ROOMS"), err)
	}
	key, _ := LiveKitKey(p)
	r, err := livekit.NewRegistry(livekit.Options{
		URL: p.LiveKit.URL, Key: key, Name: p.Name, Records: policy.Verdict, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Variable("LIVEKIT__URL"), err)
	}
	return r, nil
}

// liveKit creates the registry and the sources of a project that is a LiveKit server.
func (p *Project) liveKit(c *config.Config, o Options) error {
	registry, err := LiveKitRegistry(p.Config, o.Logger)
	if err != nil {
		return err
	}
	hooks, rooms := LiveKitSources(registry, LiveKitSourceOptions{
		Interval: c.PollInterval, IntervalWithWebhooks: c.PollIntervalWithWebhooks,
		Index: strconv.Itoa(p.Config.Index), Logger: o.Logger,
	})
	if o.Webhooks != nil {
		o.Webhooks.Add(hooks)
	}
	p.Registry, p.Sources = server{registry, p.Config}, []session.Source{rooms, hooks}
	// Apply an opt-out at once; without this, the next list reports it.
	p.RoomUpdated = func(room session.Room) {
		if registry.OptedOut(room) {
			rooms.Wake()
		}
	}
	p.setKey = func(n config.Project) error {
		key, _ := LiveKitKey(n)
		registry.SetKey(key)
		return nil
	}
	return nil
}

// server is a registry whose errors name the settings to check.
type server struct {
	*livekit.Registry

	config config.Project
}

// Project implements [session.Registry].
func (s server) Project(ctx context.Context) (session.Project, error) {
	p, err := s.Registry.Project(ctx)
	switch {
	case errors.Is(err, session.ErrUnauthorized):
		err = fmt.Errorf("%w; check %s and %s", err, s.config.Variable("LIVEKIT__API_KEY"),
			s.config.Variable("LIVEKIT__API_SECRET"))
	case err != nil:
		err = fmt.Errorf("%w; check %s, `textegress config check` says more", err,
			s.config.Variable("LIVEKIT__URL"))
	}
	return p, err
}

// LiveKitSourceOptions configures the sources of a project that is a LiveKit server.
type LiveKitSourceOptions struct {
	Interval             time.Duration // POLL_INTERVAL
	IntervalWithWebhooks time.Duration // POLL_INTERVAL_WITH_WEBHOOKS
	Index                string        // number of the project, for logs
	Logger               *slog.Logger
}

// LiveKitSources returns the sources of a project that is a LiveKit server: its webhooks, which are
// to be added to the endpoint, and the list of its rooms.
func LiveKitSources(r *livekit.Registry, o LiveKitSourceOptions) (*webhook.Source, *poll.Source) {
	var rooms *poll.Source
	hooks := webhook.New(webhook.Options{
		Verify: func(authorization string) (func([]byte) bool, error) {
			digest, err := r.WebhookDigest(authorization)
			return digest.Matches, err
		},
		Parse: func(body []byte) (webhook.Event, error) {
			e, err := livekit.ParseWebhook(body)
			if err != nil {
				return webhook.Event{}, err
			}
			s, recorded := r.Announced(e)
			return webhook.Event{ID: e.ID, Kind: kindOf(e), Session: s, Record: recorded}, nil
		},
		Confirm:      r.Confirm,
		Finished:     func(session.Session) { rooms.Wake() },
		ProjectIndex: o.Index, Logger: o.Logger,
	})
	rooms = poll.New(poll.Options{
		List: r.List, Interval: o.Interval, IntervalWithWebhooks: o.IntervalWithWebhooks,
		Webhooks: hooks, ProjectIndex: o.Index, Logger: o.Logger,
	})
	return hooks, rooms
}

// kindOf returns the meaning of an event. Events about recorders, such as our own, have none.
func kindOf(e livekit.WebhookEvent) webhook.Kind {
	switch e.Name {
	case livekit.EventRoomStarted:
		return webhook.Opened
	case livekit.EventRoomFinished:
		return webhook.Finished
	case livekit.EventParticipantJoined, livekit.EventTrackPublished:
		if !e.Recorder {
			return webhook.Present
		}
	}
	return 0
}
