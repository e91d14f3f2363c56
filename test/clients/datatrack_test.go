package clients

import (
	"fmt"
	"testing"

	"github.com/livekit/livekit-server/pkg/rtc/datatrack"

	"github.com/syncflow/textegress"
)

// dataTrack checks the frames of a data track. The first ones are lost if they came before the
// recorder was subscribed, or are nobody's if they came before the server told whose they are.
func (g *group) dataTrack(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	last, sequence := 0, uint16(0)
	var long []textegress.Message
	for _, m := range lines {
		if isPart(m) {
			long = append(long, m)
			continue
		}
		n := 0
		if _, err := fmt.Sscanf(string(m.Payload()), "frame %d", &n); err != nil || n <= last ||
			n > j.Frames {
			t.Errorf("frame %q after %d", m.Payload(), last)
		}
		last, sequence = n, m.Track.Sequence
		h := m.Track
		if h.UserTimestamp == nil || *h.UserTimestamp != uint64(n) || !h.Start || !h.Final ||
			h.SID == "" || int(h.Frame) != n-1 || len(h.Extensions) > 0 {
			t.Errorf("frame %d is described as %+v", n, *h)
		}
	}
	if last != j.Frames {
		t.Errorf("the last frame is %d of %d", last, j.Frames)
	}
	j.longFrame(t, sequence, long)
	g.sameHeaders(t, lines)
}

// isPart is for a packet that is not all of its frame.
func isPart(m textegress.Message) bool {
	return m.Track != nil &&
		(!m.Track.Start || !m.Track.Final)
}

// longFrame checks the packets of the last frame. The server drops those that it cannot send at
// once (rtc.datachannel_data_track_target_latency), which may be any of them. sequence is the
// number of the packet before the frame.
func (j job) longFrame(t *testing.T, sequence uint16, packets []textegress.Message) {
	t.Helper()
	length := len(j.Long)
	if j.Passphrase != "" {
		length += 16 // the tag
	}
	size := 0 // of every packet but the last
	for _, m := range packets {
		size = max(size, len(m.Payload()))
	}
	last := -1
	for _, m := range packets {
		h, first := m.Track, packets[0].Track
		n := int(h.Sequence - sequence - 1)
		got := m.Payload()
		at := n * size
		if h.Final {
			at = length - len(got)
		}
		if h.Frame != first.Frame || h.Timestamp != first.Timestamp || h.SID != first.SID ||
			n <= last || h.Final != (at+len(got) == length) || h.Start != (n == 0) {
			t.Fatalf("packet %d of the long frame, after %d, is described as %+v, the "+
				"earliest one as %+v", n, last, *h, *first)
		}
		last = n
		if at+len(got) > length || !h.Final && len(got) != size || j.Passphrase == "" &&
			string(got) != j.Long[at:at+len(got)] {
			t.Errorf("packet %d of the long frame has %d bytes, not those that were sent", n,
				len(got))
		}
		if reason := textegress.EncryptedPart; j.Passphrase != "" &&
			(m.Encryption == nil || m.Encryption.Decrypted || m.Encryption.Reason != reason) {
			t.Errorf("packet %d of the long frame has encryption %+v", n, m.Encryption)
		}
	}
}

// sameHeaders holds what the record says of the packets against what the server's own code reads in
// the raw ones.
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
			int(f.Epoch), p.Handle, p.SequenceNumber, p.FrameNumber, p.Timestamp, p.IsStartOfFrame,
			p.IsFinalOfFrame,
		}]++
	}
	for _, m := range lines {
		h := m.Track
		if n := raw[header{
			m.Epoch, h.Handle, h.Sequence, h.Frame, h.Timestamp, h.Start,
			h.Final,
		}]; n != 1 {
			t.Errorf("line %d: %d packets have the header %+v", m.N, n, *h)
		}
	}
}
