package merge

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/syncflow/textegress/segment"
)

// A merge holds windows of two recordings, however long they are and however long one of the
// recorders is away.
func TestMergeIsBounded(t *testing.T) {
	peak := func(n int) int64 {
		w := &world{rnd: rand.New(rand.NewPCG(1, 1)), sids: []string{"PA_0"}}
		for i := range n {
			p := packet{at: start + int64(i)*10e6, sid: "PA_0", channel: segment.ChannelReliable}
			if i%3 == 0 {
				p.channel = segment.ChannelLossy
			} else {
				p.seq = uint32(2 * i) // every second number is for somebody else
			}
			p.payload = userPacket(p.sid, p.seq, p.channel, fmt.Sprint(i))
			w.packets = append(w.packets, p)
		}
		at := func(part int) int64 { return w.packets[n*part/10].at }
		a := w.hear("DE_a", "a", 0, []span{{at(1), at(8)}}, nil)
		b := w.hear("DE_b", "b", 5e9, []span{{at(8) + 5e8, at(9)}}, nil)
		w.packets = nil
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		most, written := int64(0), 0
		each(t, a, b, 256, func(segment.Frame) {
			if written++; written%(n/8) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			}
		})
		if written < n {
			t.Errorf("%d frames were written, of %d", written, n)
		}
		runtime.KeepAlive(a)
		runtime.KeepAlive(b)
		return most
	}
	small, large := peak(4000), peak(16_000)
	t.Logf("%d bytes with 4000 packets, %d with 16000", small, large)
	if large > 2*small+1<<20 {
		t.Errorf("memory grows with the recording: %d bytes with 4000 packets, %d with 16000",
			small, large)
	}
}
