package livekit_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lkproto "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/session"
)

var _ session.Registry = (*livekit.Registry)(nil)

const optOut = `{"textegress":{"record":false}}`

// The sessions are the rooms that are to be recorded, each with its state.
func TestRegistrySessions(t *testing.T) {
	busy, empty, out := room("RM_1", "a", 2), room("RM_2", "b", 0), room("RM_3", "c", 2)
	out.Metadata = optOut
	limited := room("RM_5", "e", 1)
	limited.Metadata = `{"textegress":{"topics":["chat"]}}`
	s := newServer(t, busy, empty, out, room("RM_4", "no-d", 2), limited,
		room("RM_6", "textegress-check-x", 1))
	list, optedOut, err := s.registry(key).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []session.Session{
		{ID: "RM_1", Room: "a", State: session.Running},
		{ID: "RM_2", Room: "b", State: session.Empty},
		{
			ID: "RM_5", Room: "e", State: session.Running,
			Limits: session.Limits{Topics: []string{"chat"}},
		},
	}
	for i := range want {
		want[i].StartedAt = time.UnixMilli(busy.CreationTimeMs)
		list[i].StartedAt = want[i].StartedAt
	}
	if diff := cmp.Diff(want, list); diff != "" || !slices.Equal(optedOut, []string{"RM_3"}) {
		t.Errorf("%v\n%s", optedOut, diff)
	}
}

// An answer about a session describes its own run of the room.
func TestRegistryState(t *testing.T) {
	out := room("RM_3", "c", 2)
	out.Metadata = optOut
	s := newServer(t, room("RM_1", "a", 2), room("RM_2", "b", 0), out, room("RM_4", "no-d", 2))
	r := s.registry(key)
	for _, c := range []struct {
		id, room string
		want     session.State
		token    error // nil: a token; errAny: an error that is no definite answer
	}{
		{"RM_1", "a", session.Running, nil},
		{"RM_2", "b", session.Empty, nil},
		{"RM_0", "a", session.Replaced, errAny},
		{"RM_3", "c", session.Ended, session.ErrEnded},
		{"RM_4", "no-d", session.Running, nil}, // recorded on request
		{"RM_1", "x", session.Empty, session.ErrRoomMissing},
	} {
		q := session.Session{ID: c.id, Room: c.room}
		if got, err := r.State(t.Context(), q); got != c.want || err != nil {
			t.Errorf("%s in %s: %v, %v; want %v", c.id, c.room, got, err, c.want)
		}
		token, err := r.Token(t.Context(), q, "bot")
		definite := errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrUnknown) ||
			errors.Is(err, session.ErrWrongRoom)
		switch {
		case c.token == nil &&
			(err != nil || token.JWT == "" || !strings.HasPrefix(token.URL, "ws:")):
			t.Errorf("%s in %s: %v, %v", c.id, c.room, token, err)
		case errors.Is(c.token, errAny) && (err == nil || definite),
			c.token != nil && !errors.Is(c.token, errAny) && !errors.Is(err, c.token):
			t.Errorf("%s in %s: %v, want %v", c.id, c.room, err, c.token)
		}
		_, recorded, err := r.Confirm(t.Context(), q)
		if want := c.id == "RM_1" && c.room == "a" || c.id == "RM_2"; recorded != want ||
			err != nil {
			t.Errorf("%s in %s is confirmed: %v, %v", c.id, c.room, recorded, err)
		}
	}
	for id, want := range map[string]error{
		"RM_1": nil, "a": nil, "RM_4": nil, "RM_9": session.ErrUnknown, "RM_3": session.ErrEnded,
		"c": session.ErrEnded,
	} {
		if got, err := r.Session(t.Context(), id); !errors.Is(err, want) ||
			want == nil && got.ID == "" {
			t.Errorf("%s: %+v, %v; want %v", id, got, err, want)
		}
	}
}

var errAny = errors.New("any")

// A room that is gone has closed only where rooms outlive a crash of the server.
func TestRegistryMissingRoom(t *testing.T) {
	for redis, want := range map[bool]session.State{true: session.Ended, false: session.Empty} {
		s := newServer(t, room("RM_2", "b", 1))
		s.redis = redis
		r := s.registry(key)
		for range 3 {
			got, err := r.State(t.Context(), session.Session{ID: "RM_1", Room: "a"})
			if got != want || err != nil {
				t.Errorf("Redis %v: %v, %v; want %v", redis, got, err, want)
			}
		}
		asked := 0
		for _, call := range s.calls {
			if strings.HasPrefix(call, "ListEgress ") {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times where the rooms are", asked)
		}
	}
}

// The server's count of participants is late, so a room that is new counts as in use, except when
// our own join may have created it.
func TestRegistryNewRoom(t *testing.T) {
	for name, c := range map[string]struct {
		age, ahead      time.Duration
		count           uint32
		recording, ours bool
		before          bool // the server listed the room before we joined it
		want            session.State
	}{
		"new":                      {age: time.Second, want: session.Running},
		"old":                      {age: time.Minute, want: session.Empty},
		"old, in use":              {age: time.Minute, count: 1, want: session.Running},
		"new, by a clock ahead":    {age: time.Second, ahead: time.Hour, want: session.Running},
		"old, by a clock ahead":    {age: time.Minute, ahead: time.Hour, want: session.Empty},
		"new, by a clock behind":   {age: time.Second, ahead: -time.Hour, want: session.Running},
		"old, by a clock behind":   {age: time.Minute, ahead: -time.Hour, want: session.Empty},
		"new, a recorder is in it": {age: time.Second, recording: true, want: session.Running},
		"new, we joined it":        {age: time.Second, ours: true, want: session.Empty},
		"new, named before we joined it": {
			age: time.Second, before: true, ours: true, want: session.Running,
		},
		"new, we and people in it": {age: time.Second, ours: true, count: 1, want: session.Running},
	} {
		t.Run(name, func(t *testing.T) {
			x := room("RM_1", "a", int(c.count))
			at := time.Now().Add(c.ahead - c.age)
			x.CreationTime, x.CreationTimeMs = at.Unix(), at.UnixMilli()
			x.ActiveRecording = c.recording
			s := newServer(t, x)
			s.ahead = c.ahead
			r := s.registry(key)
			if id := r.SessionOf(session.Room{SID: "RM_other"}); id != "RM_other" {
				t.Error(id)
			}
			if c.before {
				if _, err := r.Sessions(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if c.ours {
				r.SessionOf(session.Room{SID: "RM_1"})
			}
			got, err := r.State(t.Context(), session.Session{ID: "RM_1", Room: "a"})
			if got != c.want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
			if d, known := r.ClockOffset(); !known || (d-c.ahead).Abs() > 2*time.Second {
				t.Errorf("the clock is %v ahead, want %v", d, c.ahead)
			}
		})
	}
}

// Project verifies the key; a key can be replaced; every failure is returned as an error.
func TestRegistryKey(t *testing.T) {
	s := newServer(t)
	wrong := livekit.Key{ID: key.ID, Secret: "another secret"}
	r := s.registry(wrong)
	if _, err := r.Project(t.Context()); !errors.Is(err, session.ErrUnauthorized) ||
		strings.Contains(err.Error(), wrong.Secret) {
		t.Error(err)
	}
	r.SetKey(key)
	p, err := r.Project(t.Context())
	if want := (session.Project{
		Name:       "school",
		LiveKitURL: strings.Replace(s.URL, "http", "ws", 1),
	}); p != want || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for _, status := range []int{http.StatusInternalServerError, http.StatusFound} {
		s.fails = status
		q := session.Session{ID: "RM_1", Room: "a"}
		_, err0 := r.Project(t.Context())
		_, err1 := r.Sessions(t.Context())
		_, err2 := r.Session(t.Context(), "RM_1")
		state, err3 := r.State(t.Context(), q)
		_, err4 := r.Token(t.Context(), q, "bot")
		_, _, err5 := r.Confirm(t.Context(), q)
		for i, err := range []error{err0, err1, err2, err3, err4, err5} {
			if err == nil || errors.Is(err, session.ErrUnauthorized) ||
				errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrUnknown) {
				t.Errorf("%d, %d: %v", status, i, err)
			}
		}
		if state != 0 {
			t.Error(state)
		}
	}
	if r.Platform() != "LiveKit" || r.CanonicalID(" RM_aB\n") != "RM_aB" ||
		r.Register(context.Background()) != nil {
		t.Error("the platform")
	}
}

// Malformed metadata is reported once per room, without quoting it.
func TestRegistryMalformedMetadata(t *testing.T) {
	x := room("RM_1", "a", 1)
	x.Metadata = `{"textegress":"alice"}`
	s := newServer(t, x)
	var log strings.Builder
	r, err := livekit.NewRegistry(livekit.Options{
		URL: s.URL, Key: key, Records: policy(t, "*").Verdict,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		list, out, err := r.List(t.Context())
		if len(list) != 0 || !slices.Equal(out, []string{"RM_1"}) || err != nil {
			t.Errorf("%v, %v, %v", list, out, err)
		}
	}
	if n := strings.Count(log.String(), "malformed"); n != 1 ||
		strings.Contains(log.String(), "alice") {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
	s.set([]*lkproto.Room{room("RM_2", "a", 1)}...)
	if list, _, err := r.List(t.Context()); len(list) != 1 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

func TestNewRegistryNeedsEverything(t *testing.T) {
	records := policy(t, "*").Verdict
	for _, o := range []livekit.Options{
		{URL: "livekit.example.org", Key: key, Records: records},
		{URL: "ws://livekit.example.org", Key: key},
	} {
		if _, err := livekit.NewRegistry(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}
