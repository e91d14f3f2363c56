package clients

import (
	"fmt"
	"testing"

	"github.com/livekit/livekit-server/pkg/rtc/datatrack"

	"github.com/syncflow/textegress"
)

// dataTrack checks the frames of a data track. The first ones are lost if they came before the recorder was subscribed, or are
// nobody's if they came before the server told whose they are.
func (g *group) dataTrack(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	last := 0
	for _, m := range lines {
		n := 0
		if _, err := fmt.Sscanf(string(m.Payload()), "frame %d", &n); err != nil || n <= last || n > j.Frames {
			t.Errorf("frame %q after %d", m.Payload(), last)
		}
		last = n
		h := m.Track
		if h.UserTimestamp == nil || *h.UserTimestamp != uint64(n) || !h.Start || !h.Final || h.SID == "" || int(h.Frame) != n-1 || len(h.Extensions) > 0 {
			t.Errorf("frame %d is described as %+v", n, *h)
		}
	}
	if last != j.Frames {
		t.Errorf("the last frame is %d of %d", last, j.Frames)
	}
	g.sameHeaders(t, lines)
}

// sameHeaders holds what the record says of the packets against what the server's own code reads in the raw ones.
func (g *group) sameHeaders(t *testing.T, lines []textegress.Message) {
	t.Helper()
	type header struct {
		Epoch                   int
		Handle, Sequence, Frame uint16
		Timestamp               uint32
		Start, Final            bool
	}
	raw := map[header]int{}
	for _, f := range g.wire.tracks {
		var p datatrack.Packet
		check(t, p.Unmarshal(f.Payload))
		raw[header{
			int(f.Epoch), p.Handle, p.SequenceNumber, p.FrameNumber, p.Timestamp, p.IsStartOfFrame, p.IsFinalOfFrame,
		}]++
	}
	for _, m := range lines {
		h := m.Track
		if n := raw[header{m.Epoch, h.Handle, h.Sequence, h.Frame, h.Timestamp, h.Start, h.Final}]; n != 1 {
			t.Errorf("line %d: %d packets have the header %+v", m.N, n, *h)
		}
	}
}
