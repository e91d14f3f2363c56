package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// group is one room with its recording.
type group struct {
	setting string
	members []sdkID
	project stack.Project
	session stack.Session
	// passphrase encrypts what everybody sends.
	passphrase string

	jobs      []job
	wire      wire
	delivered stack.Delivered
	// What is judged: the delivered objects, or what was derived from them with the key.
	dir      string
	messages []textegress.Message
}

// name is the room's.
func (g *group) name() string {
	if len(g.members) == 1 {
		return string(g.members[0]) + " " + g.setting
	}
	return g.setting
}

func (g *group) job(ctx context.Context, t *testing.T, id sdkID) job {
	t.Helper()
	j := job{
		ID:  fmt.Sprintf("%s-%s", id, strings.ReplaceAll(g.setting, " ", "-")),
		URL: servers.LiveKit.URL, Passphrase: g.passphrase, content: sent,
		Expect: []string{}, Methods: []string{}, Addressed: []string{}, // never null in JSON
	}
	if peer := peers[g.setting][id]; slices.Contains(g.members, peer) {
		j.Peer = string(peer)
	}
	for _, k := range sdks {
		if k.id == id {
			j.sdk = k
		}
	}
	j.End = "end of " + j.ID
	j.Chat += " " + j.ID
	for _, other := range g.members {
		if other != id && other != server {
			j.Expect = append(j.Expect, string(other))
		}
	}
	for _, row := range rows {
		if g.passphrase != "" && !encryptedMethods[row.method] {
			continue
		}
		if needsPeer[row.method] {
			j.Addressed = append(j.Addressed, row.method)
		} else {
			j.Methods = append(j.Methods, row.method)
		}
	}
	// The server's list may be a moment behind.
	check(t, waitFor(ctx, func() string { return "no recorder in the room" }, func() bool {
		for _, p := range must(servers.LiveKit.Participants(ctx, g.session.LivekitRoomName))(t) {
			if p.Permission.Recorder { // SyncFlow's own listener is hidden too
				j.Recorder = p.Identity
			}
		}
		return j.Recorder != ""
	}))
	token := auth.NewAccessToken(servers.LiveKit.APIKey, servers.LiveKit.APISecret).
		SetIdentity(string(id)).SetVideoGrant(stack.Grants(g.session.LivekitRoomName))
	if id == agent {
		token.SetKind(livekit.ParticipantInfo_AGENT)
	}
	j.Token = must(token.ToJWT())(t)
	return j
}

// end waits until the recorder has all that was sent, and ends the session.
func (g *group) end(ctx context.Context, t *testing.T, r *stack.Recorder) {
	t.Helper()
	missing := func() []string {
		var err error
		if g.wire, err = readWire(r, g.session.ID, g.passphrase); err != nil {
			return []string{err.Error()}
		}
		missing := g.wire.open()
		for _, j := range g.jobs {
			if !g.wire.ends[j.End] {
				missing = append(missing, j.End)
			}
		}
		return missing
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := waitFor(ctx, func() string { return fmt.Sprintf("%q", missing()) },
		func() bool { return len(missing()) == 0 }); err != nil {
		t.Errorf("%s: not all is in the spool: %v", g.name(), err)
	}
	must(servers.SyncFlow.StopSession(context.WithoutCancel(ctx), g.project, g.session.ID))(t)
}

// read waits for the recording and reads it.
func (g *group) read(ctx context.Context, t *testing.T, r *stack.Recorder) {
	t.Helper()
	g.delivered = must(servers.AwaitDelivered(ctx, r, g.project, g.session.ID, 1))(t)[0]
	g.look(t, g.delivered.Recording, g.delivered.Dir)
}

func (g *group) look(t *testing.T, r *textegress.Recording, dir string) {
	t.Helper()
	g.dir, g.messages = dir, nil
	for m, err := range r.Messages() {
		check(t, err)
		g.messages = append(g.messages, m)
	}
}
