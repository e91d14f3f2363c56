package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// send lets a learner send n numbered messages.
func send(t *testing.T, l *classroom.Learner, n int) {
	t.Helper()
	ctx := testContext(t)
	for range n {
		check(t, l.Send(ctx, "log", fmt.Appendf(nil, `{"n":%d}`, l.Next()), true))
	}
	check(t, l.Drain(ctx))
}

// recorded waits until the recorder has at least n packets of the session on disk.
func recorded(t *testing.T, r *stack.Recorder, s stack.Session, n uint64) {
	t.Helper()
	check(t, r.Until(testContext(t), fmt.Sprintf("%d packets are recorded", n),
		func(st stack.RecorderStatus) bool {
			for _, rec := range st.Recordings {
				if rec.SessionID == s.ID && rec.Packets >= n {
					return true
				}
			}
			return false
		}))
}

// All that reached the disk before kill -9 is delivered, although nothing was synced.
func TestKill(t *testing.T) {
	ctx := testContext(t)
	r := record(t, "SYNC_INTERVAL=1h")
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "kill")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 100)
	recorded(t, r, s, 100)
	check(t, r.Kill())
	check(t, r.Start(ctx))
	inRoom(t, r, s)
	send(t, l, 20)
	check(t, l.Leave(ctx))
	end(t, p, s)
	d := delivered(t, r, p, s, 1)
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}}, d...)
	ms := messages(t, d...)
	if n := count(ms, textegress.KindOutageStarted); n != 1 {
		t.Errorf("%d outages, want the one of the kill", n)
	}
	if o := d[0].Manifest().Completeness.Outages; len(o) != 1 || o[0].Cause != "process_died" {
		t.Errorf("the manifest states the outages %+v", o)
	}
}

// SIGTERM in mid-session: the first part is delivered before the process ends with 0, the next
// start records the second.
func TestStopInMidSession(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "stop")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 50)
	recorded(t, r, s, 50)
	check(t, r.Stop(ctx))
	first := must(servers.Delivered(p, s.ID))(t)
	if len(first) != 1 || first[0].Manifest().Reason != "service_stopped" {
		t.Fatalf("after the stop %d recordings are delivered, want the first part", len(first))
	}
	check(t, r.Start(ctx))
	inRoom(t, r, s)
	send(t, l, 50)
	check(t, l.Leave(ctx))
	end(t, p, s)
	ds := delivered(t, r, p, s, 2)
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}}, ds...)
	m1, m2 := ds[0].Manifest(), ds[1].Manifest()
	if m1.Part != 1 || m2.Part != 2 || m2.Previous != m1.EgressID {
		t.Errorf("parts %d and %d (previous %q, want %q)", m1.Part, m2.Part, m2.Previous,
			m1.EgressID)
	}
	if o := m2.Completeness.Outages; len(o) != 1 || o[0].Cause != "service_stopped" ||
		o[0].StartedUnixNS != m1.EndedUnixNS {
		t.Errorf("the second part states the outages %+v, want the one since the first", o)
	}
}

// The broker restarts between two sessions. Its exchange is gone until the API declares it again;
// the session after that is heard.
func TestBrokerRestart(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	one := begin(t, p, "before the restart")
	inRoom(t, r, one)
	check(t, servers.RabbitMQ.Restart(ctx))
	check(t, r.Until(ctx, "the loss of the broker is noticed",
		func(st stack.RecorderStatus) bool { return !st.Ready }))
	check(t, servers.SyncFlow.Redeclare(ctx))
	check(t, r.Until(ctx, "the broker is found again",
		func(st stack.RecorderStatus) bool { return st.Ready }))
	two := begin(t, p, "after the restart")
	inRoom(t, r, one, two)
	rep := must(servers.Class(p, two).Run(ctx))(t)
	end(t, p, one)
	end(t, p, two)
	delivered(t, r, p, one, 1)
	faithful(t, rep, delivered(t, r, p, two, 1)...)
}

// The API fails, and is then down, when sessions end: they are delivered all the same.
func TestAPIDownWhenSessionsEnd(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	failing, down := begin(t, p, "the API fails"), begin(t, p, "the API is down")
	inRoom(t, r, failing, down)
	a, b := join(t, p, failing, "alice"), join(t, p, down, "bob")
	send(t, a, 20)
	send(t, b, 20)
	recorded(t, r, failing, 20)
	recorded(t, r, down, 20)
	check(t, a.Leave(ctx))
	check(t, b.Leave(ctx))
	check(t, servers.SyncFlow.Control(ctx,
		stack.Settings{Fail: map[string]stack.Fault{"projects": {Status: 500, Times: 1000}}}))
	check(t, servers.LiveKit.DeleteRoom(ctx, failing.LivekitRoomName))
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": a.Sent()}},
		delivered(t, r, p, failing, 1)...)
	check(t, servers.SyncFlow.Kill())
	check(t, servers.LiveKit.DeleteRoom(ctx, down.LivekitRoomName))
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"bob": b.Sent()}},
		delivered(t, r, p, down, 1)...)
	check(t, servers.SyncFlow.Start(ctx))
	nobodyRemakes(t, failing)
	nobodyRemakes(t, down)
}

// A room that everybody left closes by itself although we are in it, and stays closed.
func TestRoomClosesByItself(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "closes")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 10)
	// SyncFlow's own listener holds every room open; it dies with the API.
	check(t, servers.SyncFlow.Kill())
	check(t, l.Leave(ctx))
	d := delivered(t, r, p, s, 1)
	if m := d[0].Manifest(); m.Status != textegress.StatusComplete || m.Reason != "room_closed" {
		t.Errorf("status %s (%s), want COMPLETE (room_closed)", m.Status, m.Reason)
	}
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}}, d...)
	nobodyRemakes(t, s)
	check(t, servers.SyncFlow.Start(ctx))
	// To the API the session is started for ever: a restart must not bring its room back either.
	check(t, r.Stop(ctx))
	check(t, r.Start(ctx))
	nobodyRemakes(t, s)
	if got := must(servers.Delivered(p, s.ID))(t); len(got) != 1 {
		t.Errorf("%d recordings, want 1", len(got))
	}
}

// LiveKit is killed in mid-class and comes back: the outage is stated, the new room of that name is
// the continuation.
func TestLiveKitRestart(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "livekit restarts")
	inRoom(t, r, s)
	before := join(t, p, s, "alice")
	send(t, before, 30)
	recorded(t, r, s, 30)
	check(t, servers.LiveKit.Kill())
	before.Vanish()
	check(t, servers.LiveKit.Start(ctx))
	after := join(t, p, s, "alice")
	check(t, r.Until(ctx, "the recorder is in the new room", func(st stack.RecorderStatus) bool {
		for _, rec := range st.Recordings {
			if rec.SessionID == s.ID && rec.Outages == 1 && rec.Connected {
				return true
			}
		}
		return false
	}))
	send(t, after, 30)
	recorded(t, r, s, 60)
	check(t, after.Leave(ctx))
	check(t, servers.LiveKit.DeleteRoom(ctx, s.LivekitRoomName))
	d := delivered(t, r, p, s, 1)
	got := received(t, d...)["alice"]
	sent := append(before.Sent(), after.Sent()...)
	if len(got) != len(sent) {
		t.Errorf("%d messages recorded, %d sent", len(got), len(sent))
	}
	m := d[0].Manifest()
	if len(m.Session.RoomSIDs) != 2 {
		t.Errorf("room sids %v, want both rooms", m.Session.RoomSIDs)
	}
	if len(m.Completeness.Outages) != 1 {
		t.Errorf("outages %+v, want one", m.Completeness.Outages)
	}
}

// On a LiveKit without Redis the API cannot read any running session. Recording, and continuing
// after a stop, do not need it.
func TestLiveKitWithoutRedis(t *testing.T) {
	ctx := testContext(t)
	check(t, servers.SyncFlow.Control(ctx, stack.Settings{NoRedis: true}))
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "no redis")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 20)
	recorded(t, r, s, 20)
	check(t, r.Stop(ctx))
	check(t, r.Start(ctx))
	inRoom(t, r, s)
	send(t, l, 20)
	check(t, l.Leave(ctx))
	check(t, servers.LiveKit.DeleteRoom(ctx, s.LivekitRoomName))
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}},
		delivered(t, r, p, s, 2)...)
	nobodyRemakes(t, s)
}

// An S3 server that is down when the class ends delays the delivery, nothing else.
func TestS3Down(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "s3 down")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 20)
	check(t, l.Leave(ctx))
	check(t, servers.S3.Kill())
	end(t, p, s)
	check(t, r.Until(ctx, "the failed delivery shows", func(st stack.RecorderStatus) bool {
		for _, pr := range st.Projects {
			if pr.UploadError != "" {
				return true
			}
		}
		return false
	}))
	check(t, servers.S3.Start(ctx))
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}},
		delivered(t, r, p, s, 1)...)
}

// A second service on the same data directory is refused, and says who has it.
func TestTwoServicesOnOneDirectory(t *testing.T) {
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	r := record(t)
	_, stderr, code, err := r.CLI(ctx, "serve")
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal("the second service runs")
	}
	check(t, err)
	if code == 0 || !strings.Contains(stderr, fmt.Sprint(r.PID())) {
		t.Errorf("exit code %d, %q; want a failure that names process %d", code, stderr, r.PID())
	}
}
