package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/devstack"
	"github.com/syncflow/textegress/devstack/classroom"
)

// `make torture` sends a gigabyte.
var largeMiB = flag.Int("large-mib", 24, "size of the file of TestLargeFile")

// memoryMiB is what the recorder may occupy at most, whatever the size of the file: it never holds one.
const memoryMiB = 400

// A file of any size is in the record byte for byte, and called complete; the recorder's memory does
// not grow with it.
func TestLargeFile(t *testing.T) {
	r := record(t)
	p := stack.SyncFlow.Projects[0]
	s := begin(t, p, "large file")
	inRoom(t, r, s)
	l := join(t, p, s, "alice")
	size := *largeMiB << 20
	sum := sha256.New()
	sendStream(t, l, size, sum)
	ctx := testContext(t)
	check(t, r.Until(ctx, "the file is recorded", func(st devstack.RecorderStatus) bool {
		for _, rec := range st.Recordings {
			if rec.SessionID == s.ID && rec.Bytes >= uint64(size) {
				return true
			}
		}
		return false
	}))
	check(t, l.Leave(ctx))
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	var found []textegress.Message
	for _, m := range messages(t, d) {
		if m.Kind == textegress.KindByteStream {
			found = append(found, m)
		}
	}
	if len(found) != 1 || !found[0].Stream.Complete || found[0].Stream.File == "" {
		t.Fatalf("the record has %+v, want one complete stream", found)
	}
	f, err := os.Open(filepath.Join(d.Dir, filepath.FromSlash(found[0].Stream.File)))
	check(t, err)
	defer f.Close()
	got := sha256.New()
	n, err := io.Copy(got, f)
	check(t, err)
	if n != int64(size) || hex.EncodeToString(got.Sum(nil)) != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%s has %d bytes, and they are not the %d that were sent", found[0].Stream.File, n, size)
	}
	if peak := peakMiB(t, r.PID()); peak > memoryMiB {
		t.Errorf("the recorder occupied %d MiB, want at most %d", peak, memoryMiB)
	} else {
		t.Logf("%d MiB were sent; the recorder occupied at most %d MiB", *largeMiB, peak)
	}
}

// packet is any DataPacket for the SDK to send.
type packet struct{ *livekit.DataPacket }

func (p packet) ToProto() *livekit.DataPacket { return p.DataPacket }

// sendStream sends a byte stream as the SDKs do, but as fast as it goes: the Go SDK's own writer waits between any two chunks.
func sendStream(t *testing.T, l *classroom.Learner, size int, sum io.Writer) {
	t.Helper()
	me := l.Room().LocalParticipant
	send := func(p *livekit.DataPacket) {
		t.Helper()
		check(t, me.PublishDataPacket(packet{p}, lksdk.WithDataPublishReliable(true)))
	}
	const id = "0f2d9a52-8f6e-4d0c-9a53-6f5c1e7b3a10"
	total := uint64(size)
	send(&livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
		StreamId: id, Timestamp: time.Now().UnixMilli(), Topic: "files", MimeType: "application/octet-stream", TotalLength: &total,
		ContentHeader: &livekit.DataStream_Header_ByteHeader{ByteHeader: &livekit.DataStream_ByteHeader{Name: "large.bin"}},
	}}})
	random := rand.NewChaCha8([32]byte{7})
	for at, i := 0, uint64(0); at < size; i++ {
		chunk := make([]byte, min(15_000, size-at)) // as large as the SDKs make them
		_, _ = random.Read(chunk)                   // never fails
		_, _ = sum.Write(chunk)                     // nor does this
		at += len(chunk)
		send(&livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{StreamId: id, ChunkIndex: i, Content: chunk}}})
		if i%64 == 63 {
			check(t, l.Drain(testContext(t)))
		}
	}
	send(&livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: &livekit.DataStream_Trailer{StreamId: id}}})
	check(t, l.Drain(testContext(t)))
}

// peakMiB is the largest resident memory that a process ever had.
func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), "VmHWM:"); ok {
			kb := must(strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB")))(t)
			return kb >> 10
		}
	}
	t.Fatal("/proc says nothing of the memory")
	return 0
}
