package notify

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	lk "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// TestEvents: each change of a recording is one event, in LiveKit's form, and leaves one mark.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		began := time.Now()
		w.live("DE_1")
		w.wantGot(urlA, true, whole("DE_1")...)
		w.wantFiles("DE_1 4.sent")
		if n := w.n.Pending(); n != 0 {
			t.Errorf("%d pending", n)
		}
		events := []string{EventStarted, EventUpdated, EventUpdated, EventEnded}
		for i, r := range w.web.requests {
			if r.event.Event != events[i] || !strings.HasPrefix(r.event.Id, "EV_") {
				t.Errorf("event %d: %v", i, r.event)
			}
		}
		last := w.web.requests[3].event
		e := last.EgressInfo
		ended := time.Unix(0, e.EndedAt)
		if last.CreatedAt < began.Unix() || ended.Before(began) || e.UpdatedAt < e.EndedAt {
			t.Errorf("times: %v", last)
		}
		want := &lk.EgressInfo{
			EgressId: "DE_1", RoomName: "class 1", RoomId: "RM_x",
			SourceType: lk.EgressSourceType_EGRESS_SOURCE_TYPE_SDK,
			Status:     lk.EgressStatus_EGRESS_COMPLETE,
			StartedAt:  e.StartedAt, EndedAt: e.EndedAt, UpdatedAt: e.UpdatedAt,
			Details:          "All.",
			ManifestLocation: "s3://b/P-p/class 1/text-egress/all/DE_1/manifest.json",
			FileResults:      e.FileResults,
		}
		want.ManifestLocation = e.FileResults[0].Location
		if d := cmp.Diff(protojson.Format(want), protojson.Format(e)); d != "" {
			t.Error(d)
		}
		if len(e.FileResults) != 1 || !strings.HasPrefix(e.ManifestLocation, "s3://b/P-p/class") {
			t.Errorf("%v", e)
		}
		w.restart()
		settle(time.Hour)
		w.wantGot(urlA, true, whole("DE_1")...)
	})
}

// TestLateEvents: events that are due at the start are sent in order, with the content of their
// time.
func TestLateEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		settle(time.Second)
		w.web.set(status(http.StatusInternalServerError))
		if _, err := next(w.spool, "DE_1"); err != nil {
			t.Fatal(err)
		}
		w.n.Wake()
		settle(time.Second)
		w.stop()
		w.stop = nil
		for more := true; more; {
			var err error
			if more, err = next(w.spool, "DE_1"); err != nil {
				t.Fatal(err)
			}
		}
		w.spool.Close()
		w.web.set(nil)
		w.start()
		settle(time.Minute)
		w.wantGot(urlA, false, whole("DE_1")...)
		for _, r := range w.web.requests {
			e := r.event.EgressInfo
			s := stepOf(r.event)
			if (e.EndedAt != 0) != (s >= stepEnding) ||
				(e.ManifestLocation != "") != (s == stepEnded) ||
				(e.RoomId != "") != (s > stepStarting) || (e.Details != "") != (s == stepEnded) {
				t.Errorf("%s: %v", label(r.event), e)
			}
		}
	})
}

// TestRetry: after any failure the same event is retried, with growing pauses and a new token, and
// no later event precedes it.
func TestRetry(t *testing.T) {
	refused := errors.New("connection refused by https://a.example.org/hook?token=sesame")
	for name, answer := range map[string]answer{
		"500":      status(500),
		"401":      status(401),
		"redirect": status(302),
		"network": func(context.Context, string, *lk.WebhookEvent) (int, error) {
			return 0, refused
		},
		"stalled": hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				w.web.set(answer)
				w.live("DE_1")
				settle(time.Hour)
				tries := w.web.got(urlA, true)
				if n := len(tries); n < 15 || n > 40 {
					t.Errorf("%d tries in an hour", n)
				}
				for _, try := range tries {
					if try != "DE_1 STARTING" {
						t.Errorf("%s was tried", try)
					}
				}
				reasons := w.n.NotReady()
				if len(reasons) != 1 || !strings.HasPrefix(reasons[0],
					"project 0: 4 events wait for the webhook at a.example.org, the oldest since ") {
					t.Errorf("not ready: %q", reasons)
				}
				w.restart()
				settle(time.Minute)
				w.web.set(nil)
				settle(6 * time.Minute)
				w.wantGot(urlA, false, whole("DE_1")...)
				tokens := map[string]bool{}
				for _, r := range w.web.requests {
					tokens[r.token] = true
				}
				if len(tokens) < len(tries)/2 {
					t.Errorf("%d tokens for %d requests", len(tokens), len(w.web.requests))
				}
				for _, text := range append(reasons, w.log()) {
					for _, secret := range []string{
						"sesame", "/hook", "secret answer", key.Secret,
					} {
						if strings.Contains(text, secret) {
							t.Errorf("%s is in %s", secret, text)
						}
					}
				}
				if reasons := w.n.NotReady(); len(reasons) > 0 {
					t.Errorf("not ready: %q", reasons)
				}
			})
		})
	}
}

// TestGone: 410 ends one event, and the next ones are sent.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.web.set(func(_ context.Context, _ string, e *lk.WebhookEvent) (int, error) {
			if e.Event == EventUpdated {
				return http.StatusGone, nil
			}
			return http.StatusOK, nil
		})
		w.live("DE_1")
		w.restart()
		settle(time.Hour)
		if got := w.web.got(urlA, true); !slices.Equal(got, whole("DE_1")) {
			t.Errorf("%q", got)
		}
		w.wantFiles("DE_1 4.sent")
		if !strings.Contains(w.log(), "given up") {
			t.Error(w.log())
		}
	})
}

// TestMaxAge: an event is tried up to its age limit, across restarts, then given up; the next ones
// follow.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project.Subscriptions[0].MaxAge = 24 * time.Hour
		w.start()
		w.web.set(status(500))
		w.live("DE_1")
		settle(20 * time.Hour)
		w.restart()
		settle(3 * time.Hour)
		if got := w.web.got(urlA, true); slices.Contains(got, "DE_1 ACTIVE") {
			t.Error("the second event was tried too early")
		}
		w.shutDown()
		time.Sleep(48 * time.Hour)
		w.web.set(func(_ context.Context, _ string, e *lk.WebhookEvent) (int, error) {
			if e.Event == EventEnded {
				return http.StatusOK, nil
			}
			return 500, nil
		})
		w.start()
		settle(2 * time.Minute)
		// The first event is tried once more, because this process has no record of failures.
		w.wantFiles("DE_1 4.given_up")
		if n := strings.Count(w.log(), "given up"); n != 4 {
			t.Errorf("%d given up", n)
		}
		w.live("DE_2")
		settle(25 * time.Hour)
		if got := w.web.got(urlA, false); !slices.Equal(got, []string{"DE_2 COMPLETE"}) {
			t.Errorf("accepted: %q", got)
		}
	})
}

// TestStalledReceiver: it delays no other receiver, and gets few requests at a time.
func TestStalledReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project.Subscriptions = append(w.project.Subscriptions, Subscription{URL: urlB, Key: key})
		w.web.set(func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error) {
			if url == urlA {
				return hang(ctx, url, e)
			}
			return http.StatusOK, nil
		})
		w.start()
		settle(time.Second)
		ids := []string{"DE_1", "DE_2", "DE_3", "DE_4", "DE_5", "DE_6", "DE_7", "DE_8"}
		for _, id := range ids {
			if _, err := next(w.spool, id); err != nil {
				t.Fatal(err)
			}
		}
		w.n.Wake()
		synctest.Wait()
		if got := w.web.got(urlB, false); len(got) != len(ids) {
			t.Errorf("the other receiver got %q", got)
		}
		settle(time.Hour)
		if most := w.web.most[urlA]; most != concurrency {
			t.Errorf("%d requests at a time", most)
		}
		w.web.set(nil)
		settle(6 * time.Second)
		w.web.mu.Lock()
		w.web.most = map[string]int{}
		w.web.mu.Unlock()
		settle(6 * time.Minute) // after one accepted event, all waiting events are due
		got := w.web.got(urlA, false)
		slices.Sort(got)
		if len(got) != len(ids) || !strings.HasPrefix(got[7], "DE_8") {
			t.Errorf("%q", got)
		}
	})
}

// TestPoison: an event that its receiver never accepts does not delay other recordings.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.web.set(func(_ context.Context, _ string, e *lk.WebhookEvent) (int, error) {
			if e.EgressInfo.EgressId == "DE_1" {
				return 500, nil
			}
			return http.StatusOK, nil
		})
		w.start()
		w.live("DE_1")
		settle(time.Hour)
		tries := len(w.web.got(urlA, true))
		for _, id := range []string{"DE_2", "DE_3", "DE_4", "DE_5", "DE_6", "DE_7"} {
			if _, err := next(w.spool, id); err != nil {
				t.Fatal(err)
			}
			w.n.Wake()
			settle(31 * time.Second)
			if got := w.web.got(urlA, false); !slices.Contains(got, id+" STARTING") {
				t.Errorf("%s waits", id)
			}
		}
		if n := len(w.web.got(urlA, true)) - tries; n > 6+6 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestRetryAfter: a receiver that asks for a pause gets it, up to a limit.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.web.header = http.Header{"Retry-After": {"120"}}
		w.web.set(status(http.StatusServiceUnavailable))
		w.start()
		if _, err := next(w.spool, "DE_1"); err != nil {
			t.Fatal(err)
		}
		w.n.Wake()
		settle(119 * time.Second)
		if n := len(w.web.got(urlA, true)); n != 1 {
			t.Errorf("%d requests", n)
		}
		settle(2 * time.Second)
		if n := len(w.web.got(urlA, true)); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}
