package recorder_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const notRecorded = "the session is not being recorded"

// TestAway: a recorder says since when it is out of its room and why: before the first join, in an
// outage, and not any more once it is in. What lasts longer than Patience is one error in the log.
func TestAway(t *testing.T) {
	tooOld := step{err: &room.JoinError{
		Phase: "websocket", Status: 404,
		Body: "404 page not found",
	}}
	for name, c := range map[string]struct {
		steps []step
		away  time.Duration // how long it has been out of the room after a minute
		says  string
		logs  int
	}{
		"in the room":              {[]step{{info: info("RM_1", ours), run: untilLeft()}}, 0, "", 0},
		"a server that is too old": {repeat(1000, tooOld), time.Minute, "LiveKit 1.11 or later", 1},
		"lost, and kept out": {
			append([]step{{
				info: info("RM_1", ours),
				run:  after(20*time.Second, room.ReasonConnectionLost),
			}}, repeat(1000, tooOld)...),
			40 * time.Second, "LiveKit 1.11 or later", 1,
		},
		"in at last": {
			append(repeat(10, tooOld), step{info: info("RM_1", ours), run: untilLeft()}), 0,
			"", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, c.steps...)
				log := &syncBuffer{}
				o := w.options()
				o.Logger = slog.New(slog.NewTextHandler(log, nil))
				r := recorder.New(w.rec, o)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				time.Sleep(time.Minute)
				s := r.Snapshot()
				var got time.Duration
				if !s.AwaySince.IsZero() {
					got = time.Since(s.AwaySince)
				}
				if got.Round(time.Second) != c.away || !strings.Contains(s.JoinError, c.says) ||
					(c.away == 0) != (s.JoinError == "") {
					t.Errorf("out of the room for %v (%q), want %v (%q)", got, s.JoinError, c.away,
						c.says)
				}
				if n := strings.Count(log.String(), notRecorded); n != c.logs {
					t.Errorf("%d errors, want %d:\n%s", n, c.logs, log)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestAway_NoAnswer: also where nothing answers, so that no try has failed yet.
func TestAway_NoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		log := &syncBuffer{}
		o := w.options()
		o.Authority = silent{}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		r := recorder.New(w.rec, o)
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(recorder.Patience + time.Second)
		if s := r.Snapshot(); s.AwaySince.IsZero() ||
			!strings.Contains(s.JoinError, "does not answer") ||
			!strings.Contains(s.JoinError, "LIVEKIT__API_KEY") ||
			!strings.Contains(log.String(), notRecorded) {
			t.Errorf("%+v\n%s", s, log)
		}
		cancel()
		<-done
	})
}

// silent is an authority that never answers.
type silent struct{}

func (silent) Token(ctx context.Context, _ string) (url, token string, err error) {
	<-ctx.Done()
	return "", "", ctx.Err()
}

func (silent) State(ctx context.Context) (session.State, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestAway_Ends: with the end of the session there is no room to be in.
func TestAway_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.auth.state = func(n int) (session.State, error) {
			if n > 5 {
				return session.Ended, nil
			}
			return session.Running, nil
		}
		r := recorder.New(w.rec, w.options())
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Snapshot(); !s.AwaySince.IsZero() || s.JoinError != "" {
			t.Errorf("%+v", s)
		}
	})
}
