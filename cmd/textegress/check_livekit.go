package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/room"
)

// checkRoomPrefix is the prefix of the names of rooms that a check creates.
const checkRoomPrefix = "textegress-check-"

// checkLiveKit tests the first step of a recorder: reaching /rtc/v1 of the project's LiveKit
// server.
func checkLiveKit(ctx context.Context, p config.Project, client *room.Client,
	url string,
) checkResult {
	f := checkResult{Project: p.Index, Part: "livekit"}
	if err := client.Probe(ctx, url); err != nil {
		f.Detail, f.Key = fmt.Sprintf("%s: %v", url, err),
			"the LiveKit server URL of the project in SyncFlow"
		return f
	}
	f.OK, f.Detail = true, url+": reached, /rtc/v1 responds"
	if p.LiveKit == nil {
		f.Detail += fmt.Sprintf(". Only signalling was tested; to test UDP too, set %s and %s",
			p.Variable("LIVEKIT__API_KEY"), p.Variable("LIVEKIT__API_SECRET"))
	}
	return f
}

// checkRoom creates a room, joins it as a recorder does, over UDP or TURN, and deletes it.
func checkRoom(ctx context.Context, cfg *config.Config, p config.Project, client *room.Client,
	url string,
) checkResult {
	f := checkResult{Project: p.Index, Part: "livekit room"}
	key := livekit.Key{ID: p.LiveKit.APIKey, Secret: p.LiveKit.APISecret.Reveal()}
	took, version, err := tryRoom(ctx, client, url, key)
	var joining *room.JoinError
	switch {
	case err == nil:
		f.OK, f.Detail = true, fmt.Sprintf("created, joined with open data channels in %v, "+
			"deleted; LiveKit %s", took.Round(time.Millisecond), version)
	case errors.Is(err, livekit.ErrKeyRefused), errors.As(err, &joining) && joining.Unauthorized():
		f.Detail, f.Key = err.Error(), p.Variable("LIVEKIT__API_KEY")+", "+
			p.Variable("LIVEKIT__API_SECRET")
	default:
		f.Detail, f.Key = err.Error(), "the UDP ports between this machine and LiveKit, "+
			"rtc.node_ip and turn in LiveKit's configuration"
		if cfg.RelayOnly {
			f.Key = "ICE_TRANSPORT, turn in LiveKit's configuration"
		}
	}
	return f
}

func tryRoom(ctx context.Context, client *room.Client, url string,
	key livekit.Key,
) (took time.Duration, version string, err error) {
	rooms, err := livekit.NewRooms(url, key)
	if err != nil {
		return 0, "", err
	}
	name := checkRoomPrefix + strings.ToLower(rand.Text()[:10])
	// If the room is not deleted, it closes automatically.
	if err := rooms.Create(ctx, name, time.Minute); err != nil {
		return 0, "", err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partTimeout/2)
		defer cancel()
		if derr := rooms.Delete(ctx, name); derr != nil {
			err = errors.Join(err, fmt.Errorf("delete room %s: %w", name, derr))
		}
	}()
	token, err := key.JoinToken(name, "textegress-check")
	if err != nil {
		return 0, "", err
	}
	d := &deaf{}
	begin := time.Now()
	conn, err := client.Join(ctx, room.JoinOptions{URL: url, Token: token, Handler: d})
	if err != nil {
		return 0, "", err
	}
	took = time.Since(begin)
	conn.Leave(ctx)
	return took, d.version, nil
}

// deaf is a handler that discards everything but the version of the server.
type deaf struct{ version string }

func (d *deaf) Joined(in room.Info) error {
	d.version = in.ServerVersion
	return nil
}

func (*deaf) Packet(room.Channel, time.Time, []byte) {}
func (*deaf) Event(room.Event)                       {}
