package merge

import (
	"fmt"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// LiveKit tells of the room again, in the same words, whenever a recorder of it comes or goes: one
// recorder hears that the other has gone, and later the other one that the first has. That is not
// one event, and neither keeps packets from their order.
func TestMergeRepeatedEvents(t *testing.T) {
	// seconds: within the time in which two recorders may be told of one event, and beyond
	for _, away := range []int64{1, 4} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d s, swapped %v", away, swap), func(t *testing.T) {
				a, b := newSource("DE_a", "a"), newSource("DE_b", "b")
				back := int(10 + away*10) // the number that is sent when a is back
				at := func(n int) int64 { return start + int64(n)*100e6 }
				say := func(s *source, epoch uint16, n int) {
					s.frame(segment.Frame{
						Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: epoch,
						UnixNS: at(n),
						Payload: userPacket("PA_0", uint32(n), segment.ChannelReliable,
							fmt.Sprint(n)),
					})
				}
				updated := func(s *source, epoch uint16, n int) {
					s.event(epoch, at(n)+50e6, segment.Event{
						Kind:         textegress.KindRoomUpdated,
						RoomMetadata: "|session_id:s-1|",
					})
				}
				for _, s := range []*source{a, b} {
					s.event(0, at(0)-2e9, segment.Event{
						Kind: textegress.KindRecordingStarted,
						Part: 1,
					})
					s.event(1, at(0)-1e9, segment.Event{
						Kind:    textegress.KindJoined,
						RoomSID: "RM_1",
					})
				}
				last := back + 30
				for n := 1; n <= last; n++ {
					say(b, 1, n)
					if n == 10 {
						updated(b, 1, n) // a has gone
					}
				}
				for n := 1; n <= 10; n++ {
					say(a, 1, n)
				}
				a.event(1, at(back)-20e6, segment.Event{
					Kind:  textegress.KindOutageStarted,
					Cause: "process_died", SinceUnixNS: at(10),
				})
				a.event(2, at(back)-10e6, segment.Event{
					Kind:    textegress.KindJoined,
					RoomSID: "RM_1",
				})
				a.event(2, at(back)-10e6, segment.Event{Kind: textegress.KindOutageEnded})
				for n := back; n <= last; n++ {
					say(a, 2, n)
					if n == back+2 {
						updated(a, 2, n) // b has gone and come back, which is not told here
					}
				}
				for _, s := range []*source{a, b} {
					s.event(2, at(last+1), segment.Event{
						Kind:   textegress.KindRecordingEnded,
						Status: "COMPLETE", Reason: "room_deleted",
					})
				}
				if swap {
					a.info.Instance, b.info.Instance = "z", "y"
					a, b = b, a
				}
				d := mergeAll(t, a, b, options{limit: maxItems, segmentSize: 1 << 20})
				next, told := uint32(1), 0
				for _, m := range d.messages {
					if m.Kind == textegress.KindRoomUpdated {
						told++
					}
					if m.Kind != textegress.KindData {
						continue
					}
					if m.Sequence != next {
						t.Fatalf("number %d stands where %d belongs", m.Sequence, next)
					}
					next++
				}
				if told != 1 { // what changes nothing is no news
					t.Errorf("the room was updated %d times, want once", told)
				}
				if int(next) != last+1 {
					t.Errorf("%d packets, want %d", next-1, last)
				}
			})
		}
	}
}
