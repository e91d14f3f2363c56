// Package livekittest tests internal/livekit, internal/source/poll, internal/source/webhook and the
// runs of rooms against a real LiveKit server.
package livekittest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	protologger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/poll"
	"github.com/syncflow/textegress/internal/source/webhook"
	"github.com/syncflow/textegress/test/stack"
)

// servers is shared: tests run one after the other, in rooms of their own. A test that restarts the
// server leaves it running.
var servers *stack.Stack

func TestMain(m *testing.M) {
	lksdk.SetLogger(protologger.GetDiscardLogger())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	if servers, err = stack.Start(ctx, stack.Options{
		NoSyncFlow: true, NoS3: true, Webhooks: true,
		LiveKit: stack.LiveKitOptions{DepartureTimeout: time.Second},
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	swallow()
	code := m.Run()
	if err := servers.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const interval = time.Second // POLL_INTERVAL

// swallow loses webhooks for good. Otherwise LiveKit would retry them for half a minute, and delay
// those of later tests.
func swallow() {
	servers.Webhooks.Reset()
	servers.Webhooks.To(&stack.Recorder{URL: "http://swallowed.invalid"})
	servers.Webhooks.Through(stack.SwallowHooks)
}

// listener is a project of the server with its two sources, and their handler.
type listener struct {
	*livekit.Registry

	t     *testing.T
	rooms *poll.Source
	hooks *webhook.Source

	mu        sync.Mutex
	refuse    int // number of announcements to refuse
	accepted  []session.Announcement
	withdrawn []string
}

func key() livekit.Key {
	return livekit.Key{ID: servers.LiveKit.APIKey, Secret: servers.LiveKit.APISecret}
}

// listen creates a project that records the rooms of a pattern. The arguments state whether it
// polls and receives webhooks.
func listen(t *testing.T, pattern string, polls, hooked bool) *listener {
	t.Helper()
	policy, err := livekit.NewPolicy([]string{pattern})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := livekit.NewRegistry(livekit.Options{
		URL: servers.LiveKit.URL, Key: key(), Name: "school", Records: policy.Verdict,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Registry: registry, t: t}
	l.hooks, l.rooms = project.LiveKitSources(registry, project.LiveKitSourceOptions{
		Interval: interval, IntervalWithWebhooks: 15 * time.Second, Index: "0",
	})
	endpoint := webhook.NewEndpoint(slog.New(slog.DiscardHandler))
	endpoint.Add(l.hooks)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	run := func(s session.Source) {
		wg.Go(func() {
			if err := s.Run(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	if polls {
		run(l.rooms)
		eventually(t, "the rooms are listed", func() bool { return l.rooms.State().Connected })
	}
	var server *httptest.Server
	if hooked {
		run(l.hooks)
		mux := http.NewServeMux()
		mux.Handle("POST "+stack.WebhookPath, endpoint)
		server = httptest.NewServer(mux)
		servers.Webhooks.Reset()
		servers.Webhooks.To(&stack.Recorder{URL: server.URL})
		eventually(t, "webhooks are accepted", func() bool { return l.hooks.State().Connected })
	}
	t.Cleanup(func() {
		swallow()
		cancel()
		wg.Wait()
		if server != nil {
			server.Close()
		}
		registry.Close()
	})
	return l
}

// Announce implements [session.Handler].
func (l *listener) Announce(_ context.Context, a session.Announcement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse > 0 {
		l.refuse--
		return fmt.Errorf("refused by the test")
	}
	l.accepted = append(l.accepted, a)
	return nil
}

// Withdraw implements [session.Handler].
func (l *listener) Withdraw(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdrawn = append(l.withdrawn, id)
	return nil
}

// Resync implements [session.Handler].
func (l *listener) Resync(context.Context, []session.Gap) error { return nil }

// announced returns the announcements of a run of a room.
func (l *listener) announced(sid string) []session.Announcement {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.accepted),
		func(a session.Announcement) bool { return a.SessionID != sid })
}

func (l *listener) hears(sid string) session.Announcement {
	l.t.Helper()
	eventually(l.t, sid+" is announced", func() bool { return len(l.announced(sid)) > 0 })
	return l.announced(sid)[0]
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// enter joins a room as a person, who leaves at the end of the test. It returns the sid of the
// room.
func enter(t *testing.T, room, identity string) (*lksdk.Room, string) {
	t.Helper()
	token, err := servers.LiveKit.Token(identity, stack.Grants(room))
	if err != nil {
		t.Fatal(err)
	}
	r, err := lksdk.ConnectToRoomWithToken(servers.LiveKit.URL, token, lksdk.NewRoomCallback(),
		lksdk.WithAutoSubscribe(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return r, r.SID()
}

// create creates a room, which is deleted at the end of the test.
func create(t *testing.T, name, metadata string) string {
	t.Helper()
	r, err := servers.LiveKit.RoomService().CreateRoom(t.Context(), &lkproto.CreateRoomRequest{
		Name: name, Metadata: metadata,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// some have ended already
		_ = servers.LiveKit.DeleteRoom(context.WithoutCancel(t.Context()), name)
	})
	return r.Sid
}

func setMetadata(t *testing.T, room, metadata string) {
	t.Helper()
	if _, err := servers.LiveKit.RoomService().UpdateRoomMetadata(t.Context(),
		&lkproto.UpdateRoomMetadataRequest{Room: room, Metadata: metadata}); err != nil {
		t.Fatal(err)
	}
}

// gone waits until the server has no room of a name.
func gone(t *testing.T, name string) {
	t.Helper()
	eventually(t, "room "+name+" is gone", func() bool {
		r, err := servers.LiveKit.Room(t.Context(), name)
		return err == nil && r == nil
	})
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not contain %q", text, part)
	}
}
