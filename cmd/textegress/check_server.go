package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/webhook"
	"github.com/syncflow/textegress/internal/web"
)

// checkServer tests the parts of a project that is a LiveKit server.
func checkServer(ctx context.Context, cfg *config.Config, p config.Project,
	report func(checkResult),
) {
	client, err := room.NewClient(room.Options{
		RelayOnly: cfg.RelayOnly, JoinTimeout: partTimeout / 2,
	})
	if err != nil {
		report(checkResult{Project: p.Index, Part: "livekit", Detail: err.Error()})
		return
	}
	signalling := inTime(ctx, func(ctx context.Context) checkResult {
		f := checkLiveKit(ctx, p, client, p.LiveKit.URL)
		if !f.OK {
			f.Key = p.Variable("LIVEKIT__URL")
		}
		return f
	})
	report(signalling)
	if !signalling.OK {
		report(skipped(p, "livekit key", "the previous step failed"))
		report(skipped(p, "livekit room", "the previous step failed"))
		return
	}
	key := inTime(ctx, func(ctx context.Context) checkResult {
		return checkKey(ctx, p, report)
	})
	report(key)
	if key.OK {
		report(inTime(ctx, func(ctx context.Context) checkResult {
			return checkRoom(ctx, cfg, p, client, p.LiveKit.URL)
		}))
	} else {
		report(skipped(p, "livekit room", "the previous step failed"))
	}
	report(checkWebhooks(ctx, cfg, p))
}

// checkKey lists rooms with the project's key, and reports the server's clock.
func checkKey(ctx context.Context, p config.Project, report func(checkResult)) checkResult {
	f := checkResult{Project: p.Index, Part: "livekit key"}
	registry, err := project.LiveKitRegistry(p, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Detail, f.Key = err.Error(), p.Variable("LIVEKIT__URL")
		return f
	}
	_, err = registry.Project(ctx)
	if c, known := checkClock(p, registry); known {
		report(c)
	}
	switch {
	case errors.Is(err, session.ErrUnauthorized):
		f.Detail, f.Key = err.Error(), p.Variable("LIVEKIT__API_KEY")+", "+
			p.Variable("LIVEKIT__API_SECRET")
	case err != nil:
		f.Detail, f.Key = err.Error(), p.Variable("LIVEKIT__URL")
	default:
		f.OK, f.Detail = true, "accepted; rooms can be listed"
	}
	return f
}

// checkWebhooks says which address LiveKit needs for webhooks, and whether a running service has
// received one. Webhooks are not required, so nothing fails here.
func checkWebhooks(ctx context.Context, cfg *config.Config, p config.Project) checkResult {
	f := checkResult{Project: p.Index, Part: "webhooks", OK: true}
	host, port, _ := net.SplitHostPort(cfg.HTTPAddr) // checked with the configuration
	note := ""
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified():
		host = "<this machine>"
	case host == "localhost" || ip != nil && ip.IsLoopback():
		note = " (HTTP_ADDR is on loopback: only a LiveKit server on this machine reaches it)"
	}
	f.Detail = fmt.Sprintf("%s; to announce rooms at once, set in LiveKit's configuration "+
		"webhook.urls: [http://%s/livekit/webhook] and webhook.api_key: %s%s",
		webhooksSeen(ctx, cfg, p), net.JoinHostPort(host, port), p.LiveKit.APIKey, note)
	return f
}

// webhooksSeen says whether the running service has received webhooks of a project.
func webhooksSeen(ctx context.Context, cfg *config.Config, p config.Project) string {
	status, err := web.Dial(cfg.DataDir).Status(ctx)
	if err != nil {
		return "not known, because the service is not running"
	}
	for _, of := range status.Projects {
		if of.ID != p.ProjectID {
			continue
		}
		for _, s := range of.Sources {
			if s.Name == webhook.SourceName && !s.Received.IsZero() {
				return "the last came at " + s.Received.UTC().Format(time.RFC3339)
			}
		}
	}
	return "none has come"
}
