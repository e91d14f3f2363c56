package livekittest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// service records the rooms of a pattern, as the program does: it polls the server.
type service struct {
	t     *testing.T
	spool *spool.Spool
	stop  func()
}

type roomClient struct{ *room.Client }

// Join implements [recorder.Room].
func (c roomClient) Join(ctx context.Context, o room.JoinOptions) (recorder.Conn, error) {
	conn, err := c.Client.Join(ctx, o)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func serve(t *testing.T, dir, pattern string) *service {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := spool.Open(dir, spool.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
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
	_, polls := project.LiveKitSources(registry, project.LiveKitSourceOptions{
		Interval: interval, IntervalWithWebhooks: 15 * time.Second, Index: "0",
	})
	client, err := room.NewClient(room.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctl := controller.New(controller.Options{
		ProjectID: "school", Instance: "i", Registry: registry, Sources: []session.Source{polls},
		Spool: s, Room: roomClient{client}, Key: key(), RejoinWindow: 10 * time.Minute, Logger: log,
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); ctl.Run(ctx) }()
	srv := &service{t: t, spool: s}
	srv.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		registry.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(srv.stop)
	return srv
}

// list returns the recordings on disk, one line each.
func (s *service) list() string {
	var lines []string
	for _, r := range s.spool.Recordings() {
		line := r.Info().SessionID + " " + string(r.State())
		if sealed, ok := r.Sealed(); ok {
			line += " " + sealed.Reason
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (s *service) awaits(lines ...string) {
	s.t.Helper()
	want := strings.Join(lines, "\n")
	eventually(s.t, fmt.Sprintf("the recordings are %q instead of %q", want, s.list()),
		func() bool { return s.list() == want })
}

// joined returns the sids of the rooms in which the n-th recording was made.
func (s *service) joined(n int) (sids []string) {
	s.t.Helper()
	all := s.spool.Recordings()
	if len(all) <= n {
		return nil
	}
	for f, err := range all[n].Frames() {
		if err != nil {
			s.t.Fatal(err)
		}
		if f.Type != segment.FrameEvent {
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err == nil && ev.Kind == textegress.KindJoined {
			sids = append(sids, ev.RoomSID)
		}
	}
	return sids
}

func (s *service) awaitsJoin(sid string) {
	s.t.Helper()
	eventually(s.t, "room "+sid+" is joined", func() bool {
		for n := range s.spool.Recordings() {
			if slices.Contains(s.joined(n), sid) {
				return true
			}
		}
		return false
	})
}

// restartServer kills the server and starts it again. Participants do not reconnect, although the
// SDK would do so by default.
func restartServer(t *testing.T, person *lksdk.Room) {
	t.Helper()
	if err := servers.LiveKit.Kill(); err != nil {
		t.Fatal(err)
	}
	person.Disconnect()
	if err := servers.LiveKit.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestZRunContinues: the server is killed without Redis, its participant recreates the room, and
// the session continues in one recording. The run after it is another session.
func TestZRunContinues(t *testing.T) {
	srv := serve(t, t.TempDir(), "runs-*")
	alice, first := enter(t, "runs-1", "alice")
	srv.awaitsJoin(first)
	restartServer(t, alice)
	alice, second := enter(t, "runs-1", "alice")
	srv.awaitsJoin(second)
	srv.awaits(first + " open")
	if first == second {
		t.Fatal("the server kept its rooms")
	}
	alice.Disconnect()
	srv.awaits(first + " sealed room_closed")
	_, third := enter(t, "runs-1", "alice")
	srv.awaitsJoin(third)
	srv.awaits(first+" sealed room_closed", third+" open")
}

// TestZRunAfterAKill: after a kill of the service, a run that was opened meanwhile continues the
// session only if the server was killed, too.
func TestZRunAfterAKill(t *testing.T) {
	for name, restarted := range map[string]bool{
		"the server too": true, "the service alone": false,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			srv := serve(t, dir, "kill-*")
			alice, first := enter(t, "kill-1", "alice")
			srv.awaitsJoin(first)
			rec := srv.spool.Recordings()[0]
			eventually(t, "the join is saved", func() bool { _, ok := rec.Join(); return ok })
			// What a kill leaves is what is on disk now.
			after := t.TempDir()
			if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			srv.stop()
			if restarted {
				restartServer(t, alice)
			} else {
				alice.Disconnect()
				gone(t, "kill-1")
			}
			_, second := enter(t, "kill-1", "alice")
			srv = serve(t, after, "kill-*")
			srv.awaitsJoin(second)
			if restarted {
				srv.awaits(first + " open")
			} else {
				srv.awaits(first+" sealed room_replaced", second+" open")
			}
		})
	}
}
