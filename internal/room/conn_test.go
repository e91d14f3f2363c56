package room

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
)

func TestDisconnectFrom(t *testing.T) {
	for reason, want := range map[livekit.DisconnectReason]Reason{
		livekit.DisconnectReason_ROOM_DELETED:        ReasonRoomDeleted,
		livekit.DisconnectReason_ROOM_CLOSED:         ReasonRoomClosed,
		livekit.DisconnectReason_PARTICIPANT_REMOVED: ReasonParticipantRemoved,
		livekit.DisconnectReason_DUPLICATE_IDENTITY:  ReasonDuplicateIdentity,
		livekit.DisconnectReason_SERVER_SHUTDOWN:     ReasonServerShutdown,
		livekit.DisconnectReason_STATE_MISMATCH:      ReasonStateMismatch,
		livekit.DisconnectReason_JOIN_FAILURE:        ReasonJoinFailed,
		livekit.DisconnectReason_MIGRATION:           ReasonMigration,
		livekit.DisconnectReason_SIGNAL_CLOSE:        ReasonConnectionLost,
		livekit.DisconnectReason_CONNECTION_TIMEOUT:  ReasonConnectionLost,
		livekit.DisconnectReason_UNKNOWN_REASON:      ReasonOther,
		livekit.DisconnectReason(4711):               ReasonOther,
	} {
		for _, action := range []livekit.LeaveRequest_Action{
			livekit.LeaveRequest_DISCONNECT,
			livekit.LeaveRequest_RESUME, livekit.LeaveRequest_RECONNECT,
		} {
			if got := disconnectFrom(&livekit.LeaveRequest{
				Reason: reason,
				Action: action,
			}); got.Reason != want {
				t.Errorf("%v, %v: %v, want %v", reason, action, got, want)
			}
		}
	}
	if !ReasonRoomClosed.RoomEnded() || !ReasonRoomDeleted.RoomEnded() ||
		ReasonConnectionLost.RoomEnded() {
		t.Error("RoomEnded")
	}
}

// The server says why and closes, in either order. It is not taken for a lost connection, nobody
// dials again, and what was sent before is delivered before Done.
func TestLeaveAndClose(t *testing.T) {
	for name, script := range map[string]func(s *session){
		"leave first": func(s *session) {
			s.leave(livekit.DisconnectReason_ROOM_DELETED, livekit.LeaveRequest_DISCONNECT)
			s.hangUp()
			s.peer.Close()
		},
		"leave only": func(s *session) {
			s.leave(livekit.DisconnectReason_ROOM_DELETED, livekit.LeaveRequest_DISCONNECT)
		},
		"peer connection first": func(s *session) {
			s.peer.Close()
			s.leave(livekit.DisconnectReason_ROOM_DELETED, livekit.LeaveRequest_DISCONNECT)
			s.hangUp()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, f *fakeSFU) {
				release := make(chan struct{})
				w := &witness{onPacket: func(Channel, []byte) { <-release }}
				conn, s := join(t, f.client(nil), f, w)
				const n = 500
				for i := range n {
					s.publish("_reliable", fmt.Appendf(nil, "%d", i))
					s.publish("_lossy", fmt.Appendf(nil, "%d", i))
				}
				// All of it has arrived when the server's buffers are empty, and is not delivered
				// yet.
				eventually(t, "sent", s.flushed)
				script(s)
				close(release)
				if e := await(t, conn); e.Reason != ReasonRoomDeleted {
					t.Errorf("end %v", e)
				}
				if r, l := len(w.received(Reliable)), len(w.received(Lossy)); r != n || l != n {
					t.Errorf("%d and %d of %d packets at Done", r, l, n)
				}
				if len(f.sessions) != 0 {
					t.Error("it dialed again")
				}
			})
		})
	}
}

// The channels close and no Leave says why: it was no end of the room.
func TestWebRTCFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		s.peer.Close()
		if e := await(t, conn); e.Reason != ReasonConnectionLost {
			t.Errorf("end %v", e)
		}
		if len(f.sessions) != 0 {
			t.Error("it dialed again")
		}
	})
}

// A handler that does not return from Packet stops its channel, and nothing else.
func TestBlockedPacket(t *testing.T) {
	f := newFakeSFU(t)
	release := make(chan struct{})
	w := &witness{onPacket: func(ch Channel, _ []byte) {
		if ch == Reliable {
			<-release
		}
	}}
	conn, s := join(t, f.client(nil), f, w)
	s.publish("_reliable", []byte("stuck"))
	s.publish("_lossy", []byte("through"))
	eventually(t, "the other channel", func() bool { return len(w.received(Lossy)) == 1 })
	for range 5 {
		s.awaitRequest("a ping",
			func(m *livekit.SignalRequest) bool { return m.GetPingReq() != nil })
	}
	s.sendUpdate(person("PA_b", "Bob", livekit.ParticipantInfo_ACTIVE))
	eventually(t, "the event", func() bool { return w.saw("participant_joined PA_b") })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn.Leave(ctx) // does not wait
	select {
	case <-conn.Done():
		t.Error("done, but Packet has not returned")
	default:
	}
	close(release)
	if e := await(t, conn); e.Reason != ReasonLeft || len(w.received(Reliable)) != 1 {
		t.Errorf("end %v, packets %q", e, w.received(Reliable))
	}
}

// A slow Event delays neither pings nor packets, and the Leave behind it is still found.
func TestBlockedEvent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		release, blocked := make(chan struct{}), make(chan struct{})
		w := &witness{onEvent: func(e Event) {
			if e.Type == ParticipantJoined {
				close(blocked)
				<-release
			}
		}}
		conn, s := join(t, f.client(nil), f, w)
		s.sendUpdate(person("PA_b", "Bob", livekit.ParticipantInfo_ACTIVE))
		<-blocked
		for range 10 { // longer than the read deadline
			s.awaitRequest("a ping",
				func(m *livekit.SignalRequest) bool { return m.GetPingReq() != nil })
		}
		s.publish("_reliable", []byte("x"))
		eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
		s.peer.Close()
		s.leave(livekit.DisconnectReason_ROOM_CLOSED, livekit.LeaveRequest_DISCONNECT)
		select {
		case <-conn.Done():
			t.Error("done, but Event has not returned")
		case <-time.After(2 * defaultTimes.leaveGrace):
		}
		close(release)
		if e := await(t, conn); e.Reason != ReasonRoomClosed {
			t.Errorf("end %v", e)
		}
		if w.saw("signal_lost") {
			t.Errorf("events %q", w.seen())
		}
	})
}

// After Done nothing is delivered, whatever the server still sends.
func TestNothingAfterDone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		var done, late atomic.Bool
		note := func() {
			if done.Load() {
				late.Store(true)
			}
		}
		w := &witness{onPacket: func(Channel, []byte) { note() }, onEvent: func(Event) { note() }}
		conn, s := join(t, f.client(nil), f, w)
		stop := make(chan struct{})
		var sending sync.WaitGroup
		sending.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
					s.publish("_reliable", []byte("x"))
					s.sendUpdate(person(fmt.Sprintf("PA_%d", i), "x",
						livekit.ParticipantInfo_ACTIVE))
				}
			}
		})
		eventually(t, "packets", func() bool { return len(w.received(Reliable)) > 10 })
		conn.Leave(t.Context())
		done.Store(true)
		time.Sleep(time.Second)
		close(stop)
		sending.Wait()
		if conn.End().Reason != ReasonLeft || late.Load() {
			t.Errorf("end %v, late %v", conn.End(), late.Load())
		}
	})
}

func TestLeaveIsSent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		conn.Leave(t.Context())
		conn.Leave(t.Context()) // harmless
		m := s.awaitRequest("a leave",
			func(m *livekit.SignalRequest) bool { return m.GetLeave() != nil })
		if m.GetLeave().GetReason() != livekit.DisconnectReason_CLIENT_INITIATED ||
			conn.End().Reason != ReasonLeft {
			t.Errorf("left with %v, %v", m, conn.End())
		}
	})
}

func TestParticipants(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		_, s := join(t, f.client(nil), f, w)
		active, gone := livekit.ParticipantInfo_ACTIVE, livekit.ParticipantInfo_DISCONNECTED
		newer := person("PA_a", "Anna", active)
		newer.Version, newer.Attributes = 3, map[string]string{"k": "v"}
		older := person("PA_a", "Ann", active)
		older.Version = 2
		s.sendUpdate(person("PA_us", "us", active),
			person("PA_b", "Bob", livekit.ParticipantInfo_JOINED))
		s.sendUpdate(person("PA_b", "Bob", active)) // its state is no news
		s.sendUpdate(newer)
		s.sendUpdate(older) // overtaken
		s.sendUpdate(person("PA_x", "there for a moment", gone), person("PA_b", "Bob", gone))
		// told twice
		s.sendUpdate(person("PA_b", "Bob", gone), person("PA_x", "there for a moment", gone))
		back := person("PA_a2", "Anna", active)
		back.Identity = "id-PA_a" // the server tells only that she came back
		s.sendUpdate(back)
		s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_RoomUpdate{
			RoomUpdate: &livekit.RoomUpdate{
				Room: &livekit.Room{Sid: "RM_1", Metadata: "new"},
			},
		}})
		eventually(t, "room update", func() bool { return w.saw("room_updated") })
		want := []string{
			"participant_joined PA_b", "participant_updated PA_a", "participant_joined PA_x",
			"participant_left PA_x", "participant_left PA_b",
			"participant_left PA_a", "participant_joined PA_a2", "room_updated",
		}
		got := slices.DeleteFunc(w.seen(), func(s string) bool { return s == "clock_measured" })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for _, e := range w.allEvents() {
			if e.Type == ParticipantUpdated &&
				(e.Participant.Name != "Anna" || e.Participant.Attributes["k"] != "v") {
				t.Errorf("updated to %+v", e.Participant)
			}
			if e.Type == RoomUpdated && e.RoomMetadata != "new" {
				t.Errorf("room updated to %+v", e)
			}
		}
	})
}

func TestManyJoins(t *testing.T) {
	f := newFakeSFU(t)
	c := f.client(nil)
	for range 20 {
		conn, _ := join(t, c, f, &witness{})
		conn.Leave(t.Context())
	}
}
