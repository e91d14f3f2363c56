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
	last := 0
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
		last = n
		h := m.Track
		if h.UserTimestamp == nil || *h.UserTimestamp != uint64(n) || !h.Start || !h.Final ||
			h.SID == "" || int(h.Frame) != n-1 || len(h.Extensions) > 0 {
			t.Errorf("frame %d is described as %+v", n, *h)
		}
	}
	if last != j.Frames {
		t.Errorf("the last frame is %d of %d", last, j.Frames)
	}
	j.longFrame(t, long)
	g.sameHeaders(t, lines)
}

// isPart is for a packet that is not all of its frame.
func isPart(m textegress.Message) bool {
	return m.Track != nil &&
		(!m.Track.Start || !m.Track.Final)
}

// longFrame checks the last frame, which takes several packets. The first one came when nothing
// else was under way; the server drops the others where it cannot send them at once
// (rtc.datachannel_data_track_target_latency).
func (j job) longFrame(t *testing.T, packets []textegress.Message) {
	t.Helper()
	if len(packets) == 0 || !packets[0].Track.Start {
		t.Fatalf("%d packets of the long frame, and not the first one", len(packets))
	}
	first, size := packets[0].Track, len(packets[0].Payload())
	length := len(j.Long)
	if j.Passphrase != "" {
		length += 16 // the tag
	}
	last := -1
	for _, m := range packets {
		h := m.Track
		n := int(h.Sequence - first.Sequence)
		at := n * size
		if h.Frame != first.Frame || h.Timestamp != first.Timestamp || h.SID != first.SID ||
			n <= last || at >= length || h.Final != (at+size >= length) || h.Start != (n == 0) {
			t.Fatalf("packet %d of the long frame, after %d, is described as %+v, the "+
				"first one as %+v", n, last, *h, *first)
		}
		last = n
		if got := m.Payload(); len(got) != min(size, length-at) || j.Passphrase == "" &&
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
