package room

import (
	"fmt"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
)

// Somebody who comes and goes for hours must not cost memory.
func TestRosterForgetsThoseWhoLeft(t *testing.T) {
	r := newRoster("PA_us", nil)
	for i := range 10_000 {
		p := &livekit.ParticipantInfo{
			Sid: fmt.Sprintf("PA_%d", i), Identity: "eve",
			Metadata: strings.Repeat("m", 100),
		}
		came := r.update([]*livekit.ParticipantInfo{p})
		p.State = livekit.ParticipantInfo_DISCONNECTED
		left := r.update([]*livekit.ParticipantInfo{p})
		if len(came) != 1 || len(left) != 1 {
			t.Fatalf("%d and %d events", len(came), len(left))
		}
	}
	if len(r.members) != 0 || len(r.gone) > 1000 {
		t.Errorf("%d members and %d others are remembered", len(r.members), len(r.gone))
	}
}
