package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode/decodetest"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Everything of bob has this in it.
const marker = "MARKER"

const bob = "bob-" + marker

type world struct {
	t      *testing.T
	dir    string
	spool  *spool.Spool
	bucket objstore.Bucket
	up     *delivery.Dispatcher
	f      *erasure.Eraser
	key    string // of the encrypted room; "": it is none
	keys   *render.Keys

	names *pseudonym.Store // nil: recordings are delivered with identities
}

func newWorld(t *testing.T, bucket objstore.Bucket) *world {
	w := &world{t: t, dir: t.TempDir(), bucket: bucket}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	sp, err := spool.Open(w.dir, spool.Options{SegmentSize: 1500})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { sp.Close() })
	w.spool = sp
	fo := erasure.Options{
		Spool: sp, Projects: w,
	}
	if w.names != nil {
		fo.ForgetPseudonym = w.names.Erase
	}
	w.up = delivery.New(delivery.Options{Spool: sp, Projects: w, Retention: -1})
	fo.Dispatcher = w.up
	w.f = erasure.New(fo)
}

// Bucket, Keys and Pseudonyms implement [delivery.Projects].
func (w *world) Bucket(string) (objstore.Bucket, error) { return w.bucket, nil }

func (w *world) Keys(string) *render.Keys { return w.keys }

func (w *world) Pseudonyms(info spool.Info) (redact.Pseudonyms, error) {
	if w.names == nil {
		return nil, errors.New("no pseudonyms")
	}
	return w.names.Names(info.ProjectID, info.PseudonymKey)
}

// present makes the states at the heads of segments name who is in the room, as a recorder does.
type present struct{ state segment.State }

func (p *present) Restore(s segment.State) { p.state = s }
func (p *present) State() segment.State    { return p.state }

func (p *present) Frame(f segment.Frame) {
	p.state.LastUnixNS = f.UnixNS
	ev, err := segment.DecodeEvent(f.Payload)
	if f.Type == segment.FrameEvent && err == nil && ev.Kind == textegress.KindParticipantJoined {
		p.state.Present = append(p.state.Present, segment.Present{
			ParticipantSID: ev.ParticipantSID, Identity: ev.Identity,
		})
	}
}

// record makes a sealed recording in which bob and others did everything.
func (w *world) record(id string, change ...func(*spool.Info)) *spool.Recording {
	t := w.t
	t.Helper()
	info := spool.Info{
		EgressID: id, SessionID: "s-" + id, RoomName: "room", ProjectID: "p", ProjectName: "Study",
		KeyPrefix:     textegress.Prefix("Study", "p", "room", "", id),
		CreatedUnixNS: 1_749_673_840_000_000_000, Pseudonyms: w.names != nil,
	}
	for _, c := range change {
		c(&info)
	}
	rec, err := w.spool.Create(info)
	if err != nil {
		t.Fatal(err)
	}
	wr, err := rec.Resume(&present{})
	if err != nil {
		t.Fatal(err)
	}
	ns := int64(1_749_673_840_000_000_000)
	frame := func(f segment.Frame) {
		ns += 1e8
		f.UnixNS, f.Epoch = ns, 1
		if err := wr.Append(f); err != nil {
			t.Fatal(err)
		}
	}
	event := func(ev segment.Event) {
		b, err := segment.EncodeEvent(ev)
		if err != nil {
			t.Fatal(err)
		}
		frame(segment.Frame{Type: segment.FrameEvent, Payload: b})
	}
	packet := func(p *livekit.DataPacket) {
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		frame(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Payload: b,
		})
	}
	say := func(identity, text string) {
		packet(&livekit.DataPacket{
			ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
			Value: &livekit.DataPacket_User{
				User: &livekit.UserPacket{Payload: []byte(text)},
			},
		})
	}
	header := func(identity, id, text string) {
		packet(&livekit.DataPacket{
			ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
			Value: &livekit.DataPacket_StreamHeader{
				StreamHeader: &livekit.DataStream_Header{
					StreamId: id, Topic: text,
					ContentHeader: &livekit.DataStream_Header_ByteHeader{
						ByteHeader: &livekit.DataStream_ByteHeader{Name: text + ".bin"},
					},
				},
			},
		})
	}
	chunk := func(identity, id, text string) {
		packet(&livekit.DataPacket{
			ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
			Value: &livekit.DataPacket_StreamChunk{
				StreamChunk: &livekit.DataStream_Chunk{StreamId: id, Content: []byte(text)},
			},
		})
	}
	trailer := func(identity, id string) {
		packet(&livekit.DataPacket{
			ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
			Value: &livekit.DataPacket_StreamTrailer{
				StreamTrailer: &livekit.DataStream_Trailer{StreamId: id},
			},
		})
	}
	track := func(handle byte, identity string) {
		event(segment.Event{
			Kind: textegress.KindDataTrackSubscribed, Identity: identity, ParticipantSID: "PA_" +
				identity, TrackSID: "DTR_" + identity, Name: "of " + identity,
			Handle: uint16(handle),
		})
	}
	pushed := byte(0)
	push := func(handle byte, text string) {
		pushed++
		frame(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelDataTrack,
			Payload: append([]byte{0x18, 0, 0, handle, 0, pushed, 0, pushed, 0, 0, 0, 0}, text...),
		})
	}
	event(segment.Event{Kind: textegress.KindRecordingStarted})
	event(segment.Event{
		Kind: textegress.KindJoined, Identity: "textegress-1",
		ParticipantSID: "PA_us", RoomSID: "RM_1",
	})
	event(segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: "alice",
		ParticipantSID: "PA_alice",
	})
	event(segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: bob, ParticipantSID: "PA_" + bob,
		Name: marker, Metadata: marker,
		Attributes: map[string]string{"a": marker},
	})
	for i := range 6 {
		say("alice", fmt.Sprint("hello ", i))
		say(bob, fmt.Sprint(marker, " hello ", i))
	}
	header(bob, "s1", marker)
	header("alice", "a1", "file")
	chunk(bob, "s1", marker+" content")
	chunk("alice", "a1", "content")
	trailer(bob, "s1")
	trailer("alice", "a1")
	header(bob, "s2", marker) // never ends: its line comes with the end of the recording
	chunk(bob, "s2", marker+" more")
	packet(&livekit.DataPacket{
		ParticipantIdentity: "agent",
		Value: &livekit.DataPacket_Transcription{Transcription: &livekit.Transcription{
			TranscribedParticipantIdentity: bob,
			Segments:                       []*livekit.TranscriptionSegment{{Text: marker}},
		}},
	})
	packet(&livekit.DataPacket{
		ParticipantSid: "PA_" + bob,
		Value: &livekit.DataPacket_ChatMessage{
			ChatMessage: &livekit.ChatMessage{Message: marker},
		},
	})
	frame(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable,
		Payload: []byte("\xff not a packet: " + bob),
	})
	// Handles are each recorder's own.
	hers, his := byte(1), byte(2)
	if info.Instance == "second" {
		hers, his = his, hers
	}
	track(hers, "alice")
	push(hers, "x: 1")
	track(his, bob)
	push(his, marker)
	push(hers, "x: 2")
	track(3, "alice")
	push(3, "y: 1")
	track(3, bob) // the handle is another track's now
	push(3, marker)
	track(3, "alice")
	push(3, "y: 2")
	if w.key != "" {
		// the packets of one stream: one line with a key, three without
		for _, identity := range []string{"alice", bob} {
			text := "secret of " + identity
			for nth, inner := range []*livekit.EncryptedPacketPayload{
				{Value: &livekit.EncryptedPacketPayload_StreamHeader{
					StreamHeader: &livekit.DataStream_Header{
						StreamId: "e", Topic: text,
						ContentHeader: &livekit.DataStream_Header_TextHeader{
							TextHeader: &livekit.DataStream_TextHeader{},
						},
					},
				}},
				{Value: &livekit.EncryptedPacketPayload_StreamChunk{
					StreamChunk: &livekit.DataStream_Chunk{StreamId: "e", Content: []byte(text)},
				}},
				{Value: &livekit.EncryptedPacketPayload_StreamTrailer{
					StreamTrailer: &livekit.DataStream_Trailer{StreamId: "e"},
				}},
			} {
				p := decodetest.Encrypt(w.key, byte(nth+1), inner)
				p.ParticipantIdentity, p.ParticipantSid = identity, "PA_"+identity
				packet(p)
			}
		}
	}
	say("alice", "last")
	event(segment.Event{Kind: textegress.KindRecordingEnded, Status: "COMPLETE"})
	if err := wr.Seal(spool.Sealed{
		Status: textegress.StatusComplete, Reason: "room_deleted",
		EndedUnixNS: ns,
	}); err != nil {
		t.Fatal(err)
	}
	return rec
}

func (w *world) deliver() {
	w.t.Helper()
	if err := w.up.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) forget(q erasure.Request) erasure.Answer {
	w.t.Helper()
	q.Identity = bob
	a, err := w.f.Erase(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return b
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out, err := z.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// traces names what still has something of bob in it.
func (w *world) traces() (found []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(unzip(w.t, b), []byte(marker)) || strings.Contains(path, marker) {
			found = append(found, "disk: "+path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for key, b := range w.objects() {
		if bytes.Contains(unzip(w.t, b), []byte(marker)) || strings.Contains(key, marker) {
			found = append(found, "bucket: "+key)
		}
	}
	slices.Sort(found)
	return found
}

func (w *world) objects() map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	for a, err := range w.bucket.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		r, err := w.bucket.Open(w.t.Context(), a.Key)
		if err != nil {
			w.t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Close()
		out[a.Key] = b
	}
	return out
}

// lines reads a delivered revision, which must be what its manifest says.
func (w *world) lines(prefix string) ([]textegress.Message, textegress.Manifest) {
	w.t.Helper()
	rec, err := textegress.Open(objfs.New(w.t.Context(), w.bucket, prefix))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := rec.Verify(w.t.Context(), nil); err != nil {
		w.t.Errorf("revision at %s: %v", prefix, err)
	}
	var out []textegress.Message
	for m, err := range rec.Messages() {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out, rec.Manifest()
}

const prefix = "Study-p/room/text-egress/all-topics/DE_1/"

// same compares the lines of two revisions: those of others are the same, with the same n; bob's
// are tombstones.
func (w *world) same(before, after []textegress.Message) {
	w.t.Helper()
	if len(before) != len(after) {
		w.t.Fatalf("%d lines, before %d", len(after), len(before))
	}
	gone := 0
	for i := range before {
		b, _ := before[i].MarshalJSON()
		a, _ := after[i].MarshalJSON()
		switch {
		case after[i].Kind == textegress.KindForgotten:
			gone++
			if after[i].UnixNS > before[i].UnixNS || i > 0 && after[i].UnixNS < after[i-1].UnixNS {
				w.t.Errorf("tombstone %d has the time %d", i+1, after[i].UnixNS)
			}
		case bytes.Contains(b, []byte(marker)):
			w.t.Errorf("line %s became %s", b, a)
		case !bytes.Equal(a, b):
			w.t.Errorf("line %s became %s", b, a)
		}
	}
	if gone < 12 {
		w.t.Errorf("%d tombstones", gone)
	}
}

func outcomes(a erasure.Answer) (out []string) {
	for _, r := range a.Recordings {
		out = append(out, fmt.Sprint(r.EgressID, " ", r.Outcome, " r", r.Revision))
	}
	return out
}

func TestForgetDelivered(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.record("DE_1")
	w.deliver()
	before, _ := w.lines(prefix)
	found := w.traces()

	dry := w.forget(erasure.Request{DryRun: true})
	if got := outcomes(dry); !cmp.Equal(got, []string{"DE_1 found r0"}) ||
		dry.Recordings[0].Frames < 15 {
		t.Errorf("dry run: %v %+v", got, dry.Recordings)
	}
	if got := w.traces(); !cmp.Equal(got, found) {
		t.Errorf("a dry run changed something: %q, before %q", got, found)
	}
	a := w.forget(erasure.Request{})
	if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 forgotten r2"}) || !a.Complete() ||
		a.Recordings[0].Deleted < 6 {
		t.Fatalf("%v %+v", got, a)
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
	after, m := w.lines(prefix + "r2/")
	w.same(before, after)
	if m.Forgotten == nil || m.Forgotten.Lines != a.Recordings[0].Lines ||
		m.Forgotten.Frames != a.Recordings[0].Frames || m.Revision != 2 {
		t.Errorf("the manifest states %+v, the answer is %+v", m.Forgotten, a.Recordings[0])
	}
	for key := range w.objects() {
		if !strings.HasPrefix(key, prefix+"r2/") {
			t.Errorf("left: %s", key)
		}
	}
	if got := outcomes(w.forget(erasure.Request{})); !cmp.Equal(got, []string{"DE_1 nothing r0"}) {
		t.Errorf("once more: %v", got)
	}
	// Somebody else: one more revision, the tombstones of both.
	w.f.Resume(t.Context())
	b, err := w.f.Erase(t.Context(), erasure.Request{Identity: "alice"})
	if got := outcomes(b); err != nil || !cmp.Equal(got, []string{"DE_1 forgotten r3"}) {
		t.Errorf("alice: %v, %v", got, err)
	}
	last, m := w.lines(prefix + "r3/")
	if len(last) != len(before) || m.Counts.Participants != 0 && m.Counts.Participants != 1 {
		t.Errorf("%d lines of %d, %d participants", len(last), len(before), m.Counts.Participants)
	}
}

// States in which a recording may be found.
func TestForgetStates(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	removed := w.record("DE_1")
	w.deliver()
	before, _ := w.lines(prefix)
	if err := removed.RemoveData(); err != nil {
		t.Fatal(err)
	}
	w.record("DE_2") // sealed, nothing delivered
	open, err := w.spool.Create(spool.Info{
		EgressID: "DE_3", SessionID: "s-DE_3", ProjectID: "p",
		ProjectName: "Study",
	})
	if err != nil {
		t.Fatal(err)
	}
	a := w.forget(erasure.Request{})
	want := map[string]string{
		"DE_1": "forgotten r2", "DE_2": "forgotten r1",
		open.ID(): "unchecked r0",
	}
	for _, r := range a.Recordings {
		if got := fmt.Sprint(r.Outcome, " r", r.Revision); got != want[r.EgressID] {
			t.Errorf("%s: %s %q, want %s", r.EgressID, got, r.Problems, want[r.EgressID])
		}
	}
	if a.Complete() {
		t.Error("a recording that goes on, and the answer is complete")
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
	after, _ := w.lines(prefix + "r2/")
	w.same(before, after)
	if _, err := w.f.Erase(t.Context(),
		erasure.Request{Identity: bob, Session: "other"}); err == nil {
		t.Error("a session that is not there")
	}
	if _, err := w.f.Erase(t.Context(), erasure.Request{}); err == nil {
		t.Error("nobody")
	}
}

// stubborn fails from the n-th call on, as a process that is killed or a bucket that goes away.
type stubborn struct {
	objstore.Bucket

	left int
}

var errStubborn = &objstore.Error{Op: "any", Cause: "the bucket is away"}

func (s *stubborn) dead() bool { s.left--; return s.left < 0 }

func (s *stubborn) Upload(ctx context.Context, key string, o objstore.Object) error {
	if s.dead() {
		return errStubborn
	}
	return s.Bucket.Upload(ctx, key, o)
}

func (s *stubborn) Stat(ctx context.Context, key string) (objstore.Attrs, error) {
	if s.dead() {
		return objstore.Attrs{}, errStubborn
	}
	return s.Bucket.Stat(ctx, key)
}

func (s *stubborn) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if s.dead() {
		return nil, errStubborn
	}
	return s.Bucket.Open(ctx, key)
}

func (s *stubborn) Delete(ctx context.Context, key string) error {
	if s.dead() {
		return errStubborn
	}
	return s.Bucket.Delete(ctx, key)
}

// It may be interrupted anywhere, and done again: until the new revision is verified the old one
// stays whole, and in the end nothing is left.
func TestForgetInterrupted(t *testing.T) {
	for k := 0; ; k += 3 {
		store := objtest.NewMemory("b", true)
		w := newWorld(t, store)
		w.record("DE_1")
		w.deliver()
		before, _ := w.lines(prefix)
		w.bucket = &stubborn{store, k}
		w.spool.Close()
		w.open()
		a := w.forget(erasure.Request{})
		w.bucket = store
		// There is a whole revision, whatever happened.
		_, err := store.Stat(t.Context(), prefix+"r2/manifest.json")
		if err == nil {
			after, _ := w.lines(prefix + "r2/")
			w.same(before, after)
		} else {
			w.lines(prefix)
		}
		w.spool.Close()
		w.open() // as after a crash
		if k%2 == 0 {
			again := w.forget(erasure.Request{})
			if !again.Complete() {
				t.Errorf("interrupted at call %d: %+v", k, again)
			}
		} else { // what the service does by itself
			w.deliver()
			w.f.Resume(t.Context())
		}
		if got := w.traces(); len(got) > 0 {
			t.Errorf("interrupted at call %d: still there: %q", k, got)
		}
		after, _ := w.lines(prefix + "r2/")
		w.same(before, after)
		w.spool.Close()
		if a.Complete() {
			if k < 20 {
				t.Errorf("%d calls", k)
			}
			return
		}
	}
}

// versions is a bucket that keeps what was replaced or deleted, and may refuse to delete it.
type versions struct {
	objstore.Bucket

	old    map[string][]byte // "key\x00id"
	n      int
	locked bool
}

func (v *versions) keep(ctx context.Context, key string) {
	r, err := v.Bucket.Open(ctx, key)
	if err != nil {
		return
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	v.n++
	v.old[fmt.Sprintf("%s\x00%d", key, v.n)] = b
}

func (v *versions) Upload(ctx context.Context, key string, o objstore.Object) error {
	v.keep(ctx, key)
	return v.Bucket.Upload(ctx, key, o)
}

func (v *versions) Delete(ctx context.Context, key string) error {
	v.keep(ctx, key)
	return v.Bucket.Delete(ctx, key)
}

func (v *versions) Versions(ctx context.Context, prefix string) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		for a, err := range v.List(ctx, prefix) {
			if !yield(objstore.Version{Key: a.Key}, err) {
				return
			}
		}
		for k := range v.old {
			if key, id, _ := strings.Cut(k, "\x00"); strings.HasPrefix(key, prefix) &&
				!yield(objstore.Version{Key: key, ID: id}, nil) {
				return
			}
		}
	}
}

func (v *versions) DeleteVersion(ctx context.Context, key, id string) error {
	if v.locked {
		return &objstore.Error{Op: "delete", Key: key, Cause: "AccessDenied", Permanent: true}
	}
	if id == "" {
		return v.Bucket.Delete(ctx, key)
	}
	delete(v.old, key+"\x00"+id)
	return nil
}

func TestForgetVersions(t *testing.T) {
	v := &versions{Bucket: objtest.NewMemory("b", true), old: map[string][]byte{}, locked: true}
	w := newWorld(t, v)
	w.record("DE_1")
	w.deliver()
	a := w.forget(erasure.Request{})
	if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 incomplete r2"}) || a.Complete() {
		t.Errorf("%v %+v", got, a)
	}
	problems := strings.Join(a.Recordings[0].Problems, "\n")
	if !strings.Contains(problems, "cannot delete") || strings.Contains(problems, marker) {
		t.Errorf("problems: %s", problems)
	}
	v.locked = false
	if a := w.forget(erasure.Request{}); !a.Complete() ||
		a.Recordings[0].Outcome != erasure.Erased {
		t.Errorf("once it is permitted: %+v", a)
	}
	if got := w.traces(); len(got) > 0 || len(v.old) > 0 {
		t.Errorf("still there: %q, %d versions", got, len(v.old))
	}
}

func TestForgetFrom(t *testing.T) {
	for name, place := range map[string]func(t *testing.T) (objstore.Bucket, string){
		"a prefix of many": func(*testing.T) (objstore.Bucket, string) {
			return objtest.NewMemory("b", true),
				"Study-p/"
		},
		"a directory": func(t *testing.T) (objstore.Bucket, string) {
			b, err := dir.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return b, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			bucket, below := place(t)
			w := newWorld(t, bucket)
			w.record("DE_1")
			w.record("DE_2")
			w.deliver()
			before, _ := w.lines(prefix)
			w.spool.Close()
			w.dir = t.TempDir() // that of another machine
			from := func(b objstore.Bucket, dry bool) (erasure.Answer, error) {
				return erasure.From(t.Context(), erasure.Place{
					Bucket: b, Prefix: below,
					Scratch: t.TempDir(),
				}, erasure.Request{Identity: bob, DryRun: dry})
			}
			if a, err := from(bucket, true); err != nil ||
				!cmp.Equal(outcomes(a), []string{"DE_1 found r0", "DE_2 found r0"}) {
				t.Errorf("dry run: %v, %v", outcomes(a), err)
			}
			for k := 0; k < 400; k += 67 { // interrupted again and again
				if _, err := from(&stubborn{bucket, k}, false); err != nil &&
					!errors.Is(err, errStubborn) {
					t.Fatal(err)
				}
			}
			a, err := from(bucket, false)
			if err != nil || !a.Complete() {
				t.Errorf("%+v, %v", a, err)
			}
			if got := w.traces(); len(got) > 0 {
				t.Errorf("still there: %q", got)
			}
			after, _ := w.lines(prefix + "r2/")
			w.same(before, after)
		})
	}
}

// A copy of one recording in a directory of its own.
func TestForgetFromACopy(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.record("DE_1")
	w.deliver()
	folder := t.TempDir()
	for key, b := range w.objects() {
		path := filepath.Join(folder, filepath.FromSlash(strings.TrimPrefix(key, prefix)))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	a, err := erasure.From(t.Context(), erasure.Place{Bucket: b, Scratch: t.TempDir()},
		erasure.Request{Identity: bob})
	if got := outcomes(a); err != nil || !cmp.Equal(got, []string{"DE_1 forgotten r2"}) {
		t.Fatalf("%+v, %v", a, err)
	}
	w.bucket, w.dir = b, t.TempDir()
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
	w.lines("r2/")
}

// Whoever delivers somewhere else now is told that the old place still has it.
func TestForgetAfterAChangeOfBucket(t *testing.T) {
	old := objtest.NewMemory("old", true)
	w := newWorld(t, old)
	w.record("DE_1")
	w.deliver()
	w.bucket = objtest.NewMemory("new", true)
	a := w.forget(erasure.Request{})
	if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 incomplete r2"}) ||
		!strings.Contains(strings.Join(a.Recordings[0].Problems, ""), "memory old") {
		t.Errorf("%v %+v", got, a)
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("on the disk and in the new bucket: %q", got)
	}
	w.bucket = old // the settings of before
	if a := w.forget(erasure.Request{}); a.Complete() {
		t.Errorf("the new revision is not in this bucket, so nothing may be deleted: %+v", a)
	}
	if _, err := old.Stat(t.Context(), prefix+"manifest.json"); err != nil {
		t.Error(err)
	}
}
