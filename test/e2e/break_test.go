package e2e

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// answered waits until SyncFlow has told the recorder n times more who is in a room.
func answered(t *testing.T, r *stack.Recorder, n float64) {
	t.Helper()
	ctx := testContext(t)
	const metric = `livekit_data_egress_api_requests_total{endpoint="participants",outcome="ok"}`
	before := must(r.Metrics(ctx))(t)[metric]
	check(t, stack.Poll(ctx, func() bool {
		m, err := r.Metrics(ctx)
		return err == nil && m[metric] >= before+n
	}))
}

// Everybody leaves, LiveKit closes the room, people come back: the session, which SyncFlow calls
// Started all the time, is recorded further as the next part. Meanwhile nobody but the people makes
// the room again.
func TestBreak(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "break")
	inRoom(t, r, s)
	before := join(t, p, s, "alice")
	send(t, before, 20)
	recorded(t, r, s, 20)
	// SyncFlow's own listener would hold the room open; it is gone after a restart of the API.
	check(t, servers.SyncFlow.Kill())
	check(t, before.Leave(ctx))
	first := delivered(t, r, p, s, 1)
	check(t, servers.SyncFlow.Start(ctx))
	answered(t, r, 2)
	nobodyRemakes(t, s)

	after := join(t, p, s, "alice")
	inRoom(t, r, s)
	send(t, after, 20)
	check(t, after.Leave(ctx))
	ds := delivered(t, r, p, s, 2)
	m1, m2 := ds[0].Manifest(), ds[1].Manifest()
	if m1.EgressID != first[0].Manifest().EgressID || m1.Status != textegress.StatusComplete ||
		m1.Reason != "room_closed" || m1.Part != 1 {
		t.Errorf("part %d is %s (%s)", m1.Part, m1.Status, m1.Reason)
	}
	if m2.Part != 2 || m2.Previous != m1.EgressID || m2.Status != textegress.StatusComplete ||
		m2.Reason != "room_closed" {
		t.Errorf("part %d after %q is %s (%s)", m2.Part, m2.Previous, m2.Status, m2.Reason)
	}
	if o := m2.Completeness.Outages; len(o) != 1 || o[0].Cause != "room_closed" ||
		o[0].StartedUnixNS != m1.EndedUnixNS {
		t.Errorf("the second part states the outages %+v, want the break", o)
	}
	sent := append(before.Sent(), after.Sent()...)
	if got := received(t, ds...)["alice"]; len(got) != len(sent) {
		t.Errorf("%d messages recorded, %d sent", len(got), len(sent))
	}
	answered(t, r, 1)
	nobodyRemakes(t, s)
}

// An administrator removes the recorder: it stays out, whatever is announced, and that the session
// runs without it is shown, until an operator has it recorded again.
func TestRemovedByAnAdministrator(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "removed")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	send(t, l, 10)
	recorded(t, r, s, 10)
	for _, info := range must(servers.LiveKit.Participants(ctx, s.LivekitRoomName))(t) {
		if strings.HasPrefix(info.Identity, "textegress-") {
			check(t, servers.LiveKit.RemoveParticipant(ctx, s.LivekitRoomName, info.Identity))
		}
	}
	shown := func(st stack.RecorderStatus) bool {
		for _, pr := range st.Projects {
			for _, u := range pr.UnrecordedSessions {
				if u.SessionID == s.ID && u.Reason == "participant_removed" {
					return strings.Contains(strings.Join(st.NotReady, "\n"), "textegress record "+
						s.ID)
				}
			}
		}
		return false
	}
	check(t, r.Until(ctx, "the session is shown as unrecorded", shown))
	check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
		stack.Announcement(s.ID, s.LivekitRoomName)))
	answered(t, r, 2)
	st := must(r.Status(ctx))(t)
	if !shown(st) || len(st.Recordings) != 1 ||
		st.Recordings[0].Status != string(textegress.StatusAborted) {
		t.Errorf("after another announcement: not ready %q, recordings %+v", st.NotReady,
			st.Recordings)
	}
	stdout, stderr, code, err := r.CLI(ctx, "record", s.ID)
	check(t, err)
	if code != 0 {
		t.Fatalf("record: exit code %d\n%s%s", code, stdout, stderr)
	}
	inRoom(t, r, s)
	check(t, r.Until(ctx, "it is ready again",
		func(st stack.RecorderStatus) bool { return st.Ready }))
	send(t, l, 10)
	check(t, l.Leave(ctx))
	end(t, p, s)
	ds := delivered(t, r, p, s, 2)
	if m := ds[0].Manifest(); m.Status != textegress.StatusAborted ||
		m.Reason != "participant_removed" {
		t.Errorf("part 1 is %s (%s)", m.Status, m.Reason)
	}
	m := ds[1].Manifest()
	if o := m.Completeness.Outages; m.Part != 2 || len(o) != 1 ||
		o[0].Cause != "participant_removed" {
		t.Errorf("part %d states the outages %+v", m.Part, o)
	}
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}}, ds...)
}

// Anybody with a device's key can announce a session with another room. SyncFlow knows the right
// one, and where it cannot be asked, the true announcement corrects the recording that waits.
func TestForgedAnnouncement(t *testing.T) {
	for name, noRedis := range map[string]bool{
		"corrected by SyncFlow":              false,
		"corrected by the true announcement": true,
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			r := record(t)
			p := servers.SyncFlow.Projects[0]
			s := must(servers.SyncFlow.CreateSession(ctx, p, "forged "+name))(t)
			check(t, servers.SyncFlow.Control(ctx, stack.Settings{NoRedis: noRedis}))
			check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
				stack.Announcement(s.ID, "not its room")))
			if noRedis {
				check(t, r.Until(ctx, "the recording waits", func(st stack.RecorderStatus) bool {
					return len(st.Recordings) == 1 && st.Recordings[0].Status == "STARTING"
				}))
				check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
					stack.Announcement(s.ID, s.LivekitRoomName)))
			}
			inRoom(t, r, s)
			check(t, servers.SyncFlow.Control(ctx, stack.Settings{}))
			rep := must(servers.Class(p, s).Run(ctx))(t)
			end(t, p, s)
			d := delivered(t, r, p, s, 1)
			faithful(t, rep, d...)
			if m := d[0].Manifest(); m.Session.RoomName != s.LivekitRoomName || m.Part != 1 {
				t.Errorf("part %d of room %q, want part 1 of %q", m.Part, m.Session.RoomName,
					s.LivekitRoomName)
			}
			if room := must(servers.LiveKit.Room(ctx, "not its room"))(t); room != nil {
				t.Error("the forged room exists")
			}
		})
	}
}
