package recorder_test

import (
	"encoding/base64"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// jwt is a token that expires at a time, or says nothing of it.
func jwt(exp time.Time) string {
	claims := `{"sub":"bot"}`
	if !exp.IsZero() {
		claims = fmt.Sprintf(`{"sub":"bot","exp":%d}`, exp.Unix())
	}
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// died leaves the recording as a process does that was in the room and died.
func (w *world) died() {
	w.t.Helper()
	wr, err := w.rec.Writer()
	if err != nil {
		w.t.Fatal(err)
	}
	now := time.Now().UnixNano()
	for _, ev := range []segment.Event{
		{Kind: textegress.KindRecordingStarted},
		{Kind: textegress.KindJoined, RoomSID: "RM_1"},
	} {
		b, err := segment.EncodeEvent(ev)
		if err == nil {
			err = wr.Append(segment.Frame{
				Type: segment.FrameEvent, Epoch: 1, UnixNS: now,
				Payload: b,
			})
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if err := wr.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// After a restart the token of the last connection is used when SyncFlow is silent, as long as it
// is good and the process was not away for longer than the rejoin window.
func TestTokenOfAnEarlierProcess(t *testing.T) {
	for name, c := range map[string]struct {
		expires time.Duration // from the restart; 0: it does not say
		away    time.Duration
		used    bool
	}{
		"good":                    {expires: time.Hour, away: time.Minute, used: true},
		"it does not say":         {away: time.Minute, used: true},
		"expired":                 {expires: -2 * time.Minute, away: time.Minute},
		"away for too long":       {expires: time.Hour, away: 11 * time.Minute},
		"a clock that is not set": {expires: time.Hour, away: -time.Minute, used: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, step{
					info: info("RM_1", ours),
					run:  send(room.ReasonRoomDeleted, "b"),
				})
				w.died()
				restart := time.Now().Add(time.Hour)
				var exp time.Time
				if c.expires != 0 {
					exp = restart.Add(c.expires)
				}
				token := jwt(exp)
				if err := w.rec.KeepJoin(spool.Join{
					URL: "ws://kept", Token: token, Identity: "bot",
					InRoomUnixNS: restart.Add(-c.away).UnixNano(),
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				w.auth.stateTakes, w.auth.tokenTakes = always(time.Hour), always(30*time.Second)
				w.run(t.Context())
				j := w.room.joins[0]
				if got := j.token == token; got != c.used {
					t.Errorf("joined with the earlier token: %v", got)
				}
				if d := j.at.Sub(restart); c.used &&
					(d != 2*time.Second || j.o.URL != "ws://kept") {
					t.Errorf("joined %s after %v", j.o.URL, d)
				}
			})
		})
	}
}

// What admitted to the room is kept from the first connection on, and so is when the recorder was
// last in.
func TestTheTokenIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: info("RM_1", ours),
			run:  after(time.Hour, room.ReasonRoomDeleted),
		})
		began := time.Now()
		done := make(chan error)
		go func() { done <- recorder.New(w.rec, w.options()).Run(t.Context()) }()
		for _, at := range []time.Duration{0, 59 * time.Minute} {
			time.Sleep(at)
			synctest.Wait()
			j, ok := w.rec.Join()
			if !ok || j.URL != "ws://fake" || j.Token != "token-1" ||
				j.Identity != w.auth.identities[0] {
				t.Fatalf("kept: %v, %+v", ok, j)
			}
			if ago := time.Since(time.Unix(0, j.InRoomUnixNS)); ago > 2*time.Minute {
				t.Errorf("after %v: last seen in the room %v ago", time.Since(began), ago)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, ok := w.rec.Join(); ok {
			t.Error("it outlives the recording")
		}
	})
}

// A window of nothing means that no room is ever joined unasked: then nothing is kept.
func TestNothingIsKeptWithoutAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, nil, step{
			info: info("RM_1", ours),
			run: func(room.Handler, <-chan struct{}) room.Reason {
				synctest.Wait() // the recorder waits for the end of the connection
				if _, ok := w.rec.Join(); ok {
					t.Error("kept")
				}
				return room.ReasonRoomDeleted
			},
		})
		o := w.options()
		o.RejoinWindow = 0
		if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A disk that does not take the token costs nothing but the token.
func TestATokenThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, step{
			info: info("RM_1", ours),
			run:  after(time.Hour, room.ReasonRoomDeleted),
		})
		hook := d.fault.Hook
		d.fault.Hook = func(c durabletest.Call) (int, error) {
			if c.Label == "join" {
				return 0, syscall.ENOSPC
			}
			return hook(c)
		}
		if sealed := d.run(t.Context()); sealed.Status != textegress.StatusComplete ||
			len(d.outages()) != 0 {
			t.Errorf("sealed %s with %d outages", sealed.Status, len(d.outages()))
		}
	})
}
