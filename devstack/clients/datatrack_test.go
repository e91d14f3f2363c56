package clients

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/livekit/livekit-server/pkg/rtc/datatrack"

	"github.com/syncflow/textegress"
)

// frames are those of the sender's data track, found by the handle that the recording says it has.
func (j job) frames(messages []textegress.Message) []textegress.Message {
	var lines []textegress.Message
	for _, e := range messages {
		if e.Kind != textegress.KindDataTrackSubscribed || e.Identity != j.identity() || e.Event.Name != "positions" {
			continue
		}
		for _, m := range messages {
			if m.Kind == textegress.KindDataTrack && m.Epoch == e.Epoch && len(m.Base64) > 4 && binary.BigEndian.Uint16(m.Base64[2:]) == e.Event.Handle {
				lines = append(lines, m)
			}
		}
	}
	return lines
}

// dataTrack reads the frames with the server's own code. The first ones are lost if they came before the recorder was subscribed.
func (j job) dataTrack(t *testing.T, lines []textegress.Message) {
	t.Helper()
	last := 0
	for _, m := range lines {
		var p datatrack.Packet
		check(t, p.Unmarshal(m.Base64))
		n := 0
		if _, err := fmt.Sscanf(string(p.Payload), "frame %d", &n); err != nil || n <= last || n > j.Frames {
			t.Errorf("frame %q after %d", p.Payload, last)
		}
		last = n
	}
	if last != j.Frames {
		t.Errorf("the last frame is %d of %d", last, j.Frames)
	}
}
