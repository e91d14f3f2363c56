package recorder_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// onNode returns a room as the node of a server describes it.
func onNode(node, sid string, who ...string) room.Info {
	in := info(sid, "", who...)
	in.NodeID = node
	return in
}

// TestRun: what follows when the room has another sid, on a platform where a session is one run of
// a room.
func TestRun(t *testing.T) {
	lost := func(node string) step {
		return step{info: onNode(node, "RM_1", "a"), run: send(room.ReasonConnectionLost, "a")}
	}
	deleted := func(node, sid string, who ...string) step {
		return step{info: onNode(node, sid, who...), run: send(room.ReasonRoomDeleted, "b")}
	}
	for name, c := range map[string]struct {
		steps []step
		taken error // answer of Continue
		want  []string
	}{
		"on another node, with somebody": {
			steps: []step{lost("ND_1"), deleted("ND_2", "RM_2", "a")},
			want: []string{
				"recording_started", "joined RM_1", "participant_joined a", "packet a epoch 1",
				"outage_started connection_lost", "joined RM_2", "outage_ended",
				"packet b epoch 2", "recording_ended COMPLETE room_deleted",
			},
		},
		"the channels of the first join never opened": {
			steps: []step{
				{
					info: onNode("ND_1", "RM_1", "a"),
					fails: &room.DisconnectError{
						Disconnect: room.Disconnect{Reason: room.ReasonConnectionLost},
					},
				},
				deleted("ND_2", "RM_2", "a"),
			},
			want: []string{
				"recording_started", "joined RM_1", "participant_joined a",
				"outage_started join_failed", "joined RM_2", "outage_ended",
				"packet b epoch 2", "recording_ended COMPLETE room_deleted",
			},
		},
		"on the same node": {
			steps: []step{lost("ND_1"), deleted("ND_1", "RM_2", "a")},
			want: []string{
				"recording_started", "joined RM_1", "participant_joined a", "packet a epoch 1",
				"outage_started connection_lost", "recording_ended COMPLETE room_replaced",
			},
		},
		"that another recording has": {
			steps: []step{lost("ND_1"), deleted("ND_2", "RM_2", "a")},
			taken: recorder.ErrOtherSession,
			want: []string{
				"recording_started", "joined RM_1", "participant_joined a", "packet a epoch 1",
				"outage_started connection_lost", "recording_ended COMPLETE room_replaced",
			},
		},
		"that could not be stored at first": {
			steps: []step{
				lost("ND_1"), deleted("ND_2", "RM_2", "a"), deleted("ND_2", "RM_2", "a"),
			},
			taken: errors.New("fake: the disk"),
			want: []string{
				"recording_started", "joined RM_1", "participant_joined a", "packet a epoch 1",
				"outage_started connection_lost", "joined RM_2", "outage_ended",
				"packet b epoch 2", "recording_ended COMPLETE room_deleted",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(i *spool.Info) { i.SessionID = "RM_1" }, c.steps...)
				o := w.options()
				o.SessionOf = func(r session.Room) string { return r.SID }
				o.Runs = true
				o.OwnToken = func(string) (string, string, error) { return "ws://fake", "own", nil }
				o.SingleNode = func(context.Context) (bool, error) { return true, nil }
				o.FindRoom = func(context.Context) (session.Room, bool, error) {
					next := c.steps[min(w.room.count(), len(c.steps)-1)]
					return session.Room{SID: next.info.RoomSID}, true, nil
				}
				o.Continue = func(sid string) error {
					if err := c.taken; err != nil {
						if !errors.Is(err, recorder.ErrOtherSession) {
							c.taken = nil
						}
						return err
					}
					return w.rec.AddRun(sid)
				}
				w.auth.state = func(int) (session.State, error) { return session.Replaced, nil }
				if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(c.want, w.story()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}
