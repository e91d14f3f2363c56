package controller_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// withKey gives the project a key of the server, and its keys the form of LiveKit projects.
func (w *liveKitWorld) withKey(change func(*controller.Options)) *liveKitWorld {
	w.change = func(o *controller.Options) {
		o.Key = w
		o.KeyPrefix = func(i spool.Info) string { return i.RoomPrefix("school") }
		if change != nil {
			change(o)
		}
	}
	return w
}

// selection is what the n-th recording states about what is recorded.
func (w *liveKitWorld) selection(n int) (rules textegress.SelectionRules) {
	w.t.Helper()
	for f, err := range w.spool.Recordings()[n].Frames() {
		if err != nil {
			w.t.Fatal(err)
		}
		if f.Type != segment.FrameEvent {
			continue
		}
		if ev, err := segment.DecodeEvent(f.Payload); err == nil && ev.Selection != nil {
			rules = *ev.Selection
		}
	}
	return rules
}

// TestStart: a request for the room of a session is carried out once, even if it is repeated after
// other changes.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t).withKey(nil)
		w.start()
		defer func() { w.stop() }()
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{Room: "class"}); !errors.Is(
			err, session.ErrRoomMissing) {
			t.Errorf("a room that does not exist: %v", err)
		}
		w.want()
		w.appear("class", "RM_1")
		o := controller.StartOptions{
			Room: "class", RequestID: "r1", Prefix: "/2026/a b%/",
			Webhooks: []string{"https://x.example/hook"},
		}
		var ids []string
		for range 3 {
			go func() {
				id, err := w.ctl.Start(t.Context(), o)
				if err != nil {
					t.Error(err)
				}
				ids = append(ids, id)
			}()
			synctest.Wait()
		}
		w.want("RM_1 part 1 open")
		same := func(n int, id string, err error) {
			t.Helper()
			if err != nil || id != w.egress(n) {
				t.Errorf("Start = %q, %v, want %s", id, err, w.egress(n))
			}
		}
		for _, id := range ids {
			same(0, id, nil)
		}
		info := w.spool.Recordings()[0].Info()
		if want := "school/2026/a b%25/" + info.EgressID + "/"; info.KeyPrefix != want ||
			info.Source != "api" || info.RequestID != "r1" || len(info.Webhooks) != 1 {
			t.Errorf("%+v, want key prefix %s", info, want)
		}
		time.Sleep(time.Second)
		w.stop()
		w.start()
		time.Sleep(time.Second)
		w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 open")
		next := w.spool.Recordings()[1].Info()
		if next.RequestID != "r1" || !cmp.Equal(next.Webhooks, info.Webhooks) ||
			next.KeyPrefix != "school/2026/a b%25/"+next.EgressID+"/" {
			t.Errorf("the next part: %+v", next)
		}
		id, err := w.ctl.Start(t.Context(), o)
		same(0, id, err)
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{
			Room: "other", RequestID: "r1",
		}); !errors.Is(err, controller.ErrRequestID) {
			t.Errorf("the id of another request: %v", err)
		}

		for name, change := range map[string]func(*controller.StartOptions){
			"prefix":   func(o *controller.StartOptions) { o.Prefix = "other" },
			"webhooks": func(o *controller.StartOptions) { o.Webhooks = nil },
			"limits":   func(o *controller.StartOptions) { o.Limits.Topics = []string{"chat"} },
		} {
			other := o
			change(&other)
			if id, err := w.ctl.Start(t.Context(), other); !errors.Is(err,
				controller.ErrRequestID) || id != w.egress(0) {
				t.Errorf("the same id with another %s: %q, %v", name, id, err)
			}
		}

		// A request without options finds the current recording.
		id, err = w.ctl.Start(t.Context(), controller.StartOptions{Room: "class", RequestID: "r2"})
		same(1, id, err)
		o.RequestID = "r3"
		if _, err := w.ctl.Start(t.Context(), o); !errors.Is(err, controller.ErrBeingRecorded) ||
			!strings.Contains(err.Error(), w.egress(1)) {
			t.Errorf("a request with other options: %v", err)
		}

		if err := w.ctl.Stop(t.Context(), w.egress(0)); err != nil {
			t.Fatal(err)
		}
		o.RequestID = "r1" // a repetition does not undo the stop
		id, err = w.ctl.Start(t.Context(), o)
		same(0, id, err)
		w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 sealed COMPLETE stopped")
		time.Sleep(time.Second)
		// Nor does a repeated request that found the recording, also after a restart.
		w.stop()
		w.start()
		id, err = w.ctl.Start(t.Context(), controller.StartOptions{Room: "class", RequestID: "r2"})
		same(1, id, err)
		w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 sealed COMPLETE stopped")
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{
			Room: "other", RequestID: "r2",
		}); !errors.Is(err, controller.ErrRequestID) {
			t.Errorf("the id of another request: %v", err)
		}
		id, err = w.ctl.Start(t.Context(), controller.StartOptions{Room: "class", RequestID: "r4"})
		same(2, id, err)
		w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 sealed COMPLETE stopped",
			"RM_1 part 3 open")
		if i := w.spool.Recordings()[2].Info(); i.RequestID != "r4" || i.Webhooks != nil ||
			i.KeyPrefix != "school/class/data-egress/"+i.EgressID+"/" {
			t.Errorf("%+v", i)
		}
	})
}

// TestStart_AfterStop: a request that comes while the recording is sealed waits for that.
func TestStart_AfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t).withKey(nil)
		w.start()
		defer func() { w.stop() }()
		w.open(t, w.handler, "class", "RM_1")
		time.Sleep(time.Second)
		if err := w.ctl.Stop(t.Context(), w.egress(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{
			Room: "class", Prefix: "p",
		}); err != nil {
			t.Fatal(err)
		}
		w.want("RM_1 part 1 sealed COMPLETE stopped", "RM_1 part 2 open")
	})
}

// TestStart_Refused: an impossible request is rejected, and nothing is created.
func TestStart_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t).withKey(func(o *controller.Options) {
			o.Selection = textegress.SelectionRules{
				TopicsAllow: []string{"chat", "lk.*"}, TopicsDeny: []string{"lk.secret"},
				IdentitiesDeny: []string{"guest*"},
			}
		})
		w.start()
		defer func() { w.stop() }()
		w.appear("class", "RM_1")
		w.appear("private", "RM_2")
		w.optOut("RM_2", true)
		topics := func(list ...string) session.Limits { return session.Limits{Topics: list} }
		for _, c := range []struct {
			o    controller.StartOptions
			want []string // parts of the error
			is   error
		}{
			{
				controller.StartOptions{Limits: topics("chat", "poll")},
				[]string{`"poll"`, "TOPICS_ALLOW"},
				nil,
			},
			{controller.StartOptions{Limits: topics("chat*")}, []string{"TOPICS_ALLOW"}, nil},
			{
				controller.StartOptions{Limits: topics("lk.secret")},
				[]string{`"lk.secret"`, "TOPICS_DENY"},
				nil,
			},
			{controller.StartOptions{Limits: topics("a*b")}, []string{`"a*b"`, "star"}, nil},
			{
				controller.StartOptions{
					Limits: session.Limits{Participants: []string{"guest1"}},
				},
				[]string{`"guest1"`, "IDENTITIES_DENY"},
				nil,
			},
			{controller.StartOptions{Prefix: "a//b"}, nil, controller.ErrPrefix},
			{controller.StartOptions{Prefix: "a/DE_abcdefghijkl"}, nil, controller.ErrPrefix},
			{
				controller.StartOptions{Prefix: strings.Repeat("long/", 50)},
				nil,
				controller.ErrPrefix,
			},
			{controller.StartOptions{Room: "private"}, nil, session.ErrEnded},
		} {
			if c.o.Room == "" {
				c.o.Room = "class"
			}
			_, err := w.ctl.Start(t.Context(), c.o)
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%+v: %v", c.o, err)
				continue
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%+v: %v, want %s", c.o, err, part)
				}
			}
		}
		w.want()
		w.ctl.SetKey(nil)
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{Room: "class"}); !errors.Is(
			err, controller.ErrNoServer) {
			t.Errorf("without a key: %v", err)
		}
	})
}

// TestLimits: a recording has its limits from the start, within the project's lists, also when
// these change, and so have the parts that follow.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := textegress.SelectionRules{TopicsDeny: []string{"lk.secret"}}
		w := newLiveKitWorld(t)
		w.withKey(func(o *controller.Options) { o.Selection = rules })
		w.start()
		defer func() { w.stop() }()
		w.appear("class", "RM_1")
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{
			Room: "class", Limits: session.Limits{
				Topics: []string{"chat", "lk.*"}, Participants: []string{"a*"},
			},
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := textegress.SelectionRules{
			TopicsAllow: []string{"chat", "lk.*"}, TopicsDeny: []string{"lk.secret"},
			IdentitiesAllow: []string{"a*"},
		}
		if d := cmp.Diff(want, w.selection(0)); d != "" {
			t.Error(d)
		}
		h := w.conn("RM_1").Handler
		h.Event(room.Event{
			Type:        room.ParticipantJoined,
			Participant: room.Participant{SID: "PA_1", Identity: "bob"},
		})
		time.Sleep(time.Second)
		w.stop()
		rules = textegress.SelectionRules{TopicsAllow: []string{"chat", "other"}}
		w.start()
		time.Sleep(time.Second)
		w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 open")
		want = textegress.SelectionRules{
			TopicsAllow: []string{"chat"}, IdentitiesAllow: []string{"a*"},
		}
		if d := cmp.Diff(want, w.selection(1)); d != "" {
			t.Error(d)
		}
	})
}

// TestLimits_OfTheCreator: a creator's selection is recorded only as far as the project's lists
// allow, and no identity reaches the log.
func TestLimits_OfTheCreator(t *testing.T) {
	for name, c := range map[string]struct {
		requested session.Limits
		want      textegress.SelectionRules
		warns     bool
	}{
		"nothing": {
			session.Limits{}, textegress.SelectionRules{
				TopicsAllow: []string{"chat", "lk.*"}, IdentitiesDeny: []string{"guest*"},
			}, false,
		},
		"less than the project": {
			session.Limits{Topics: []string{"chat"}}, textegress.SelectionRules{
				TopicsAllow: []string{"chat"}, IdentitiesDeny: []string{"guest*"},
			}, false,
		},
		"partly more": {
			session.Limits{Topics: []string{"chat*", "other", "a*b"}}, textegress.SelectionRules{
				TopicsAllow: []string{"chat"}, IdentitiesDeny: []string{"guest*"},
			}, true,
		},
		"nothing of what is allowed": {
			session.Limits{Topics: []string{"other"}, Participants: []string{"guest-eve"}},
			textegress.SelectionRules{
				TopicsAllow: []string{"chat", "lk.*"}, TopicsDeny: []string{"*"},
				IdentitiesDeny: []string{"guest*", "*"},
			},
			true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				w := newLiveKitWorld(t).withKey(func(o *controller.Options) {
					o.Selection = textegress.SelectionRules{
						TopicsAllow: []string{"chat", "lk.*"}, IdentitiesDeny: []string{"guest*"},
					}
					o.Logger = slog.New(slog.NewTextHandler(&log, nil))
				})
				w.start()
				defer func() { w.stop() }()
				w.appear("class", "RM_1")
				if err := w.handler.Announce(t.Context(), session.Announcement{
					SessionID: "RM_1", Room: "class", ReceivedAt: time.Now(), Limits: c.requested,
				}); err != nil {
					t.Fatal(err)
				}
				w.want("RM_1 part 1 open")
				if d := cmp.Diff(c.want, w.selection(0)); d != "" {
					t.Error(d)
				}
				if got := strings.Contains(log.String(), "level=WARN"); got != c.warns ||
					strings.Contains(log.String(), "guest-eve") {
					t.Errorf("logged:\n%s", &log)
				}
			})
		})
	}
}

// TestLimits_Changed: a creator who opts in again may change the limits; the limits of a request
// apply as well.
func TestLimits_Changed(t *testing.T) {
	for name, c := range map[string]struct {
		api  bool
		want []string
	}{"announced": {false, []string{"new*"}}, "requested": {true, []string{"new.chat"}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newLiveKitWorld(t).withKey(nil)
				w.start()
				defer func() { w.stop() }()
				a := session.Announcement{
					SessionID: "RM_1", Room: "class", ReceivedAt: time.Now(),
					Limits: session.Limits{Topics: []string{"old"}},
				}
				w.appear("class", "RM_1")
				var err error
				if c.api {
					_, err = w.ctl.Start(t.Context(), controller.StartOptions{
						Room: "class", Limits: session.Limits{Topics: []string{"new.chat"}},
					})
				} else {
					err = w.handler.Announce(t.Context(), a)
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if err := w.handler.Withdraw(t.Context(), "RM_1"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				a.Limits = session.Limits{Topics: []string{"new*"}}
				if err := w.handler.Announce(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				w.want("RM_1 part 1 sealed COMPLETE opted_out", "RM_1 part 2 open")
				if d := cmp.Diff(c.want, w.selection(1).TopicsAllow); d != "" {
					t.Error(d)
				}
			})
		})
	}
}
