package standalone

import (
	"fmt"
	"sync"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/test/stack"
)

// Two hundred rooms at once, found by polling alone: each is recorded once. `make bench` measures
// how long it takes.
func TestManyRooms(t *testing.T) {
	const n = 200
	// LiveKit sometimes deletes a room without notifying a participant; the recorder then waits
	// for the room to come back.
	w := record(t, servers, "REJOIN_WINDOW=5s")
	rooms := make([]*livekit.Room, n)
	slots := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range rooms {
		slots <- struct{}{}
		wg.Go(func() {
			rooms[i], _ = w.LiveKit.RoomService().CreateRoom(t.Context(),
				&livekit.CreateRoomRequest{Name: fmt.Sprintf("many-%d", i), EmptyTimeout: 300})
			<-slots
		})
	}
	wg.Wait()
	for _, room := range rooms {
		if room == nil {
			t.Fatal("LiveKit did not create a room")
		}
	}
	w.recording(rooms...)
	for _, room := range rooms {
		slots <- struct{}{}
		wg.Go(func() { _ = w.LiveKit.DeleteRoom(t.Context(), room.Name); <-slots })
	}
	wg.Wait()
	check(t, w.r.Until(testContext(t), "everything is delivered",
		func(st stack.RecorderStatus) bool {
			done := 0
			for _, rec := range st.Recordings {
				if rec.State == "uploaded" {
					done++
				}
			}
			return done == n
		}))
	sids := map[string]int{}
	for _, d := range must(w.r.DeliveredLocally(""))(t) {
		sids[d.Manifest().Session.ID]++
	}
	for _, room := range rooms {
		if sids[room.Sid] != 1 {
			t.Errorf("%d recordings of room %s", sids[room.Sid], room.Name)
		}
	}
}
