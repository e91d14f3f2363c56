package decode_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// flood decodes frames as they are made, so that only the decoder holds memory. It returns how many
// streams there were by what became of them, and how much of the heap was in use at most.
type flood struct {
	t     testing.TB
	d     *decode.Decoder
	file  *os.File // the scratch file
	seq   uint32
	n     int
	lines map[string]int
	peak  uint64
	base  uint64
}

func newFlood(t testing.TB, l decode.Limits) *flood {
	f := &flood{t: t, lines: map[string]int{}}
	f.d = decode.New(decode.Options{Limits: l, Scratch: func() (_ decode.Scratch, err error) {
		f.file, err = os.Create(filepath.Join(t.TempDir(), "scratch"))
		return f.file, err
	}})
	t.Cleanup(func() { f.d.Close() })
	f.base = heap()
	return f
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (f *flood) emit(l *decode.Line) error {
	what := string(l.Kind)
	if l.Stream != nil {
		if what = l.Stream.Incomplete; l.Stream.Complete {
			what = "complete"
		}
	}
	f.lines[what]++
	return nil
}

func (f *flood) send(who string, p *livekit.DataPacket) {
	f.seq++
	p.ParticipantIdentity, p.ParticipantSid, p.Sequence = who, "PA_"+who, f.seq
	fr := frame(f.t, segment.ChannelReliable, p)
	if err := f.d.Frame(fr, f.emit); err != nil {
		f.t.Fatal(err)
	}
	if f.n++; f.n%10_000 == 0 {
		f.peak = max(f.peak, heap())
	}
}

func (f *flood) end() {
	f.peak = max(f.peak, heap())
	if err := f.d.End(f.emit); err != nil {
		f.t.Fatal(err)
	}
}

// holds fails if more was in memory than is allowed.
func (f *flood) holds(limit uint64) {
	f.t.Helper()
	used := f.peak - min(f.base, f.peak)
	f.t.Logf("%d packets, lines %v, late %d, at most %d kB of memory", f.n, f.lines, f.d.Late(),
		used>>10)
	if used > limit {
		f.t.Errorf("%d bytes of memory were used, %d are allowed", used, limit)
	}
}

const floods = 100_000

// TestHundredThousandOpenStreams of one sender: memory stays within the limit, and the others'
// streams are unharmed.
func TestHundredThousandOpenStreams(t *testing.T) {
	f := newFlood(t, decode.Limits{Memory: 16 << 20})
	f.send("bob", text("s", uint64(floods)))
	for i := range floods {
		f.send("mallory", text(fmt.Sprint("s", i)))
		if i%10 == 0 {
			f.send("bob", part("s", uint64(i/10), "0123456789"))
		}
	}
	f.send("bob", trailer("s", ""))
	f.end()
	f.holds(24 << 20)
	if f.lines["complete"] != 1 || f.lines[textegress.StreamMemoryLimit] < floods/2 ||
		f.lines[textegress.StreamMemoryLimit]+f.lines[textegress.StreamRecordingEnded] != floods {
		t.Errorf("lines %v", f.lines)
	}
}

// TestDefaultLimitHoldsManyStreams: tens of thousands of open streams are within the default limit,
// and all are put together.
func TestDefaultLimitHoldsManyStreams(t *testing.T) {
	f := newFlood(t, decode.Limits{})
	const streams = 20_000
	for i := range streams {
		f.send("alice", text(fmt.Sprint("s", i), 2))
	}
	for i := range streams {
		f.send("alice", part(fmt.Sprint("s", i), 0, "hi"))
	}
	for i := range streams {
		f.send("alice", trailer(fmt.Sprint("s", i), ""))
	}
	f.end()
	f.holds(40 << 20)
	if f.lines["complete"] != streams {
		t.Errorf("lines %v", f.lines)
	}
}

// TestChunkFloods: chunks in the worst orders, of streams with and without header.
func TestChunkFloods(t *testing.T) {
	for name, index := range map[string]func(i uint64) uint64{
		"with gaps":     func(i uint64) uint64 { return i * 2 },
		"backwards":     func(i uint64) uint64 { return math.MaxUint64 - i },
		"from 2^63 on":  func(i uint64) uint64 { return 1<<63 + i*i },
		"in order":      func(i uint64) uint64 { return i },
		"from both end": func(i uint64) uint64 { return i * (math.MaxUint64 / 2) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t, decode.Limits{Memory: 256 << 10})
			f.send("bob", text("s", 4))
			for i := range uint64(floods / 4) {
				f.send("mallory", part("s", index(i), "x"))
			}
			f.send("bob", part("s", 0, "fine")) // of the same id
			f.send("bob", trailer("s", ""))
			f.end()
			f.holds(2 << 20)
			if f.lines["complete"] != 1 || f.d.Late() == 0 &&
				f.lines[textegress.StreamNoHeader] < 2 {
				t.Errorf("lines %v", f.lines)
			}
		})
	}
}

// TestPacketFloods: what is not part of any stream, or repeats one.
func TestPacketFloods(t *testing.T) {
	big := strings.Repeat("x", 60_000)
	for name, tc := range map[string]struct {
		packet func(i int) *livekit.DataPacket
		limit  uint64
	}{
		"trailers without headers": {func(i int) *livekit.DataPacket {
			return trailer(fmt.Sprint("s", i), "")
		}, 1 << 20},
		"the same header": {func(int) *livekit.DataPacket { return text("s") }, 1 << 20},
		"headers with one id": {func(i int) *livekit.DataPacket {
			return text("s", uint64(i))
		}, 1 << 20},
		"versions of one chunk": {func(i int) *livekit.DataPacket {
			return part("s", 0, "x",
				int32(i))
		}, 1 << 20},
		"the same chunk": {
			func(int) *livekit.DataPacket { return part("s", 0, "x") },
			1 << 20,
		},
		"another content": {func(i int) *livekit.DataPacket {
			return part("s", 0,
				fmt.Sprint(i))
		}, 1 << 20},
		"nothing in it": {func(i int) *livekit.DataPacket {
			return part("s", uint64(i),
				"")
		}, 4 << 20},
		"large attributes": {func(i int) *livekit.DataPacket {
			return attributes(fmt.Sprint("s", i%5000), big[:2000])
		}, 4 << 20},
		"large ids": {func(i int) *livekit.DataPacket {
			return part(fmt.Sprint(big[:1000], i), 0, "x")
		}, 4 << 20},
		"senders without a session": {func(i int) *livekit.DataPacket {
			return text(fmt.Sprint(i))
		}, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t, decode.Limits{Memory: 1 << 20})
			for i := range floods / 10 {
				f.send("mallory", tc.packet(i))
			}
			f.end()
			f.holds(tc.limit)
			total := 0
			for _, n := range f.lines {
				total += n
			}
			if total == 0 {
				t.Error("no line")
			}
		})
	}
}

func attributes(id, value string) *livekit.DataPacket {
	p := text(id)
	p.GetStreamHeader().Attributes = map[string]string{"a": value}
	return p
}

// TestLargestPackets: 65,535 bytes are the most that LiveKit forwards.
func TestLargestPackets(t *testing.T) {
	f := newFlood(t, decode.Limits{Memory: 1 << 20})
	f.send("alice", text("s", 1000*65_000))
	for i := range 1000 {
		f.send("alice", part("s", uint64(i), strings.Repeat("x", 65_000)))
	}
	f.send("alice", trailer("s", ""))
	f.end()
	f.holds(3 << 20)
	if f.lines["complete"] != 1 {
		t.Errorf("lines %v", f.lines)
	}
}

// TestNestedAndInvalidProtobuf: no panic, and kept as bytes.
func TestNestedAndInvalidProtobuf(t *testing.T) {
	nested := []byte{}
	for range 20_000 {
		nested = protowire.AppendBytes(protowire.AppendTag(nil, 13, protowire.BytesType), nested)
		if len(nested) > 60_000 {
			break
		}
	}
	groups := []byte{}
	for range 30_000 {
		groups = protowire.AppendTag(groups, 50, protowire.StartGroupType)
	}
	for name, b := range map[string][]byte{
		"nested":      nested,
		"groups":      groups,
		"long varint": []byte(strings.Repeat("\xff", 60_000)),
		"length of 2^63": append(protowire.AppendTag(nil, 13, protowire.BytesType),
			protowire.AppendVarint(nil, 1<<63)...),
	} {
		got := lines(t, decode.Options{}, segment.Frame{
			Type: segment.FramePacket, Channel: 1,
			UnixNS: at, Payload: b,
		})
		if len(got) != 1 {
			t.Errorf("%s: %d lines", name, len(got))
			continue
		}
		if got[0].Stream == nil && (got[0].Kind != textegress.KindUnknown ||
			string(got[0].Base64) != string(b)) {
			t.Errorf("%s: kind %s", name, got[0].Kind)
		}
	}
}

// TestBombs: many small packets that would become large together.
func TestBombs(t *testing.T) {
	z := bomb(1 << 20)
	f := newFlood(t, decode.Limits{Inflate: 2 << 20, InflateAll: 10 << 20})
	for i := range 100 {
		p := text(fmt.Sprint("s", i))
		p.GetStreamHeader().Compression,
			p.GetStreamHeader().InlineContent = livekit.DataStream_DEFLATE_RAW, z
		f.send("mallory", p)
	}
	f.end()
	f.holds(2 << 20)
	if f.lines["complete"] != 10 || f.lines[textegress.StreamInflateLimit] != 90 {
		t.Errorf("lines %v", f.lines)
	}
}
