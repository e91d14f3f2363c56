package tail

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

func packet(t *testing.T, p *livekit.DataPacket) segment.Frame {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1, UnixNS: 1e9,
		Payload: b,
	}
}

func say(t *testing.T, n int) segment.Frame {
	topic := fmt.Sprint("topic ", n%2)
	return packet(t, &livekit.DataPacket{
		ParticipantIdentity: "ada", Sequence: uint32(n),
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Topic: &topic, Payload: fmt.Appendf(nil, "message %d", n),
		}},
	})
}

// recording is one that another spool than the reader's writes.
type recording struct {
	t   *testing.T
	dir string
	sp  *spool.Spool
	w   *spool.Writer
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{t: t, dir: filepath.Join(t.TempDir(), "data")}
	r.open()
	return r
}

func (r *recording) open() {
	r.t.Helper()
	sp, err := spool.Open(r.dir, spool.Options{SegmentSize: 300})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { sp.Close() })
	rec, ok := sp.Recording("DE_tail00000001")
	if !ok {
		if rec, err = sp.Create(spool.Info{
			EgressID: "DE_tail00000001", SessionID: "s", RoomName: "class",
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	if r.w, err = rec.Writer(); err != nil {
		r.t.Fatal(err)
	}
	r.sp = sp
}

func (r *recording) append(f segment.Frame) {
	r.t.Helper()
	if err := r.w.Append(f); err != nil {
		r.t.Fatal(err)
	}
}

// reader opens the recording as the command does.
func (r *recording) reader() *follow.Decoder {
	r.t.Helper()
	sp, err := spool.OpenReadOnly(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	rec, _ := sp.Recording("DE_tail00000001")
	d, err := follow.NewDecoder(r.t.Context(), rec, follow.DecoderOptions{
		Scratch: render.NewDiscardSink(0).Scratch,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { d.Close() })
	return d
}

// TestRun_Follow: another process writes the recording, rotates segments, is restarted and seals.
func TestRun_Follow(t *testing.T) {
	r := newRecording(t)
	r.append(say(t, 1))
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(t.Context(), out, r.reader(), Options{Last: -1, Follow: true, JSON: true})
		out.Close()
		done <- err
	}()
	lines := bufio.NewScanner(in)
	want := func(n int) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`{"n":%d,`, n)) ||
			!strings.Contains(lines.Text(), fmt.Sprintf("message %d", n)) {
			t.Fatalf("line %d: %s", n, lines.Text())
		}
	}
	want(1)
	for n := 2; n <= 20; n++ {
		if n == 10 {
			r.sp.Close()
			r.open()
		}
		r.append(say(t, n))
		want(n)
	}
	if err := r.w.Seal(spool.Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("after the end: %s", lines.Text())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRun: filters, the last lines, and streams that have not ended.
func TestRun(t *testing.T) {
	r := newRecording(t)
	for n := 1; n <= 6; n++ {
		r.append(say(t, n))
	}
	r.append(packet(t, &livekit.DataPacket{
		ParticipantIdentity: "bob", Sequence: 1,
		Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
			StreamId: "s1", Topic: "files", TotalLength: new(uint64(50_000)),
			ContentHeader: &livekit.DataStream_Header_ByteHeader{
				ByteHeader: &livekit.DataStream_ByteHeader{Name: "notes\n.txt"},
			},
		}},
	}))
	r.append(packet(t, &livekit.DataPacket{
		ParticipantIdentity: "bob", Sequence: 2,
		Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: "s1", Content: make([]byte, 20_000),
		}},
	}))
	format := Format{Zone: time.UTC, Escape: strings.Clone}
	const pending = "00:00:01.000  bob  files  pending: 20 kB of 50 kB of notes ⏎ .txt\n"
	message := func(n int) string {
		return fmt.Sprintf("00:00:01.000  ada  topic %d  message %d\n", n%2, n)
	}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"last", Options{Last: 2}, message(5) + message(6) + pending},
		{"none", Options{}, pending},
		{"all of a topic", Options{Last: -1, Filter: Filter{
			Topics: []pattern.Pattern{{Name: "topic 1"}},
		}}, message(1) + message(3) + message(5)},
		{"a participant", Options{Last: -1, Filter: Filter{
			Identities: []pattern.Pattern{{Name: "bo", Prefix: true}},
		}}, pending},
		{"later", Options{Last: -1, Filter: Filter{Since: time.Unix(2, 0)}}, ""},
	} {
		var got bytes.Buffer
		c.o.Format = format
		if err := Run(t.Context(), &got, r.reader(), c.o); err != nil || got.String() != c.want {
			t.Errorf("%s: %v\n%s", c.name, err, cmp.Diff(c.want, got.String()))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, io.Discard, r.reader(), Options{Follow: true}); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

// TestFormat: what people read, and that nothing in it comes from a sender unescaped.
func TestFormat(t *testing.T) {
	text := func(s string) *string { return &s }
	f := Format{Zone: time.UTC, Escape: func(s string) string {
		return strings.ReplaceAll(s, "\x1b", "<ESC>")
	}}
	long := strings.Repeat("ä", maxText+1)
	for want, m := range map[string]textegress.Message{
		"a<ESC>  t<ESC>  x<ESC>":                        {Identity: "a\x1b", Topic: "t\x1b", Text: text("x\x1b")},
		"-  -  one ⏎ two three":                         {Text: text("one\r\ntwo\tthree")},
		"-  -  3 bytes, not text":                       {Base64: []byte{255, 1, 2}},
		"-  -  " + long[:2*maxText] + " … (2002 bytes)": {Text: text(long)},
		"a  -  participant left, excluded": {
			Kind: textegress.KindParticipantLeft, Identity: "a",
			Event: &textegress.Event{Cause: "excluded"},
		},
		"-  -  (copy of line 3)": {Text: text("x"), CopyOf: 3},
		"a  lk.chat  file n<ESC>, 12 kB  (incomplete: sender left)": {
			Identity: "a", Topic: "lk.chat", Stream: &textegress.StreamInfo{
				Name: "n\x1b", File: "files/x", Size: 12_000,
				Incomplete: textegress.StreamSenderLeft,
			},
		},
		"-  -  rpc request go<ESC>  {}": {
			RPC: &textegress.RPCInfo{Type: "request", Method: "go\x1b"}, Text: text("{}"),
		},
		"-  -  5 bytes, not text  (encrypted: no key)": {
			Base64:     []byte{255, 1, 2, 3, 4},
			Encryption: &textegress.EncryptionInfo{Reason: textegress.EncryptedNoKey},
		},
	} {
		if got := f.Message(m); got != "00:00:00.000  "+want+"\n" {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f.Color = true
	if got := f.Message(textegress.Message{Identity: "a", Text: text("x")}); strings.Count(got,
		"\x1b[0m") != 2 {
		t.Errorf("colours: %q", got)
	}
	_ = f.Pending(decode.OpenStream{})
}
