package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress/dataegress"
)

// Limits of a request to start.
const (
	maxName     = 1024 // bytes of a room's name, prefix, URL or pattern
	maxEntries  = 100  // of topics and of participants
	maxWebhooks = 10
	maxID       = 128 // bytes of request_id
)

const (
	// waitTime is how long a request waits for its room. A response must begin within 30 s.
	waitTime  = 20 * time.Second
	waitRetry = time.Second
	// maxWaiting bounds the requests that wait, so that connections remain for other requests.
	maxWaiting = 16
)

// start records a room.
func (a *API) start(ctx context.Context, req *dataegress.StartDataEgressRequest) (
	*livekit.EgressInfo, error,
) {
	s, err := parseStart(req)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	switch {
	case !c.mayUse(s.Room):
		return nil, twirp.NewError(twirp.PermissionDenied,
			"the access token is for another room")
	case len(c.projects) > 1:
		return nil, twirp.NewError(twirp.FailedPrecondition, "the key of the access token belongs "+
			"to more than one project ("+strings.Join(c.projects, ", ")+"); give each project a "+
			"key of its own")
	}
	project := c.projects[0]
	e, err := a.service.Start(ctx, project, s)
	if req.GetWait() && errors.Is(err, ErrNoRoom) {
		e, err = a.wait(ctx, project, s)
	}
	if err != nil {
		return nil, err
	}
	a.log.Info("the API was asked to record a room", "project_id", project, "room", s.Room,
		"egress_id", e.GetEgressId())
	return e, nil
}

// wait repeats a start until the room exists.
func (a *API) wait(ctx context.Context, project string, s Start) (*livekit.EgressInfo, error) {
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return nil, twirp.NewError(twirp.ResourceExhausted,
			fmt.Sprintf("%d requests wait for their rooms already; repeat it later", maxWaiting))
	}
	retry := time.NewTicker(waitRetry)
	defer retry.Stop()
	limit := time.NewTimer(waitTime)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return nil, fmt.Errorf("%w: %q, still, after %v; repeat the request to wait longer",
				ErrNoRoom, s.Room, waitTime)
		case <-retry.C:
		}
		if e, err := a.service.Start(ctx, project, s); !errors.Is(err, ErrNoRoom) {
			return e, err
		}
	}
}

// parseStart checks the form of a request.
func parseStart(req *dataegress.StartDataEgressRequest) (Start, error) {
	s := Start{
		Room: req.GetRoomName(), Topics: req.GetTopics(), Participants: req.GetParticipants(),
		Prefix: strings.TrimSuffix(req.GetPrefix(), "/"), Webhooks: req.GetWebhooks(),
		RequestID: req.GetRequestId(),
	}
	switch {
	case s.Room == "":
		return Start{}, twirp.RequiredArgumentError("room_name")
	case len(s.Room) > maxName:
		return Start{}, tooLong("room_name", maxName)
	case len(s.Prefix) > maxName:
		return Start{}, tooLong("prefix", maxName)
	case len(s.RequestID) > maxID:
		return Start{}, tooLong("request_id", maxID)
	case s.Prefix != "" && slices.ContainsFunc(strings.Split(s.Prefix, "/"), notComponent):
		return Start{}, twirp.InvalidArgumentError("prefix", `must be a relative path, such as `+
			`"course/week 3", without empty components, "." and ".."`)
	case len(s.Webhooks) > maxWebhooks:
		return Start{}, tooMany("webhooks", maxWebhooks)
	case slices.ContainsFunc(s.Webhooks, notWebURL):
		return Start{}, twirp.InvalidArgumentError("webhooks",
			fmt.Sprintf("must be http or https URLs of at most %d bytes", maxName))
	}
	for name, list := range map[string][]string{
		"topics": s.Topics, "participants": s.Participants,
	} {
		switch {
		case len(list) > maxEntries:
			return Start{}, tooMany(name, maxEntries)
		case slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > maxName }):
			return Start{}, twirp.InvalidArgumentError(name,
				fmt.Sprintf("must have entries of 1 to %d bytes", maxName))
		}
	}
	return s, nil
}

func tooLong(argument string, limit int) error {
	return twirp.InvalidArgumentError(argument, fmt.Sprintf("has more than %d bytes", limit))
}

func tooMany(argument string, limit int) error {
	return twirp.InvalidArgumentError(argument, fmt.Sprintf("has more than %d entries", limit))
}

func notComponent(s string) bool { return s == "" || s == "." || s == ".." }

func notWebURL(s string) bool {
	u, err := url.Parse(s)
	return len(s) > maxName || err != nil || u.Host == "" ||
		u.Scheme != "http" && u.Scheme != "https"
}
