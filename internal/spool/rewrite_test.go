package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// secretFrames writes a sealed recording in which every third message is one that must go.
func secretFrames(t testing.TB, s *Spool, id string) *Recording {
	t.Helper()
	r, err := s.Create(Info{EgressID: id, SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := fmt.Sprintf("message %d", i+1)
		if i%3 == 0 {
			text = fmt.Sprintf("SECRET %d", i+1)
		}
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1,
			Payload: []byte(text),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(Sealed{
		Status: textegress.StatusComplete,
		Reason: "room_deleted",
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

func withoutSecrets(f *segment.Frame) error {
	if bytes.Contains(f.Payload, []byte("SECRET")) {
		f.Type, f.Channel, f.Payload = segment.FrameEvent, segment.ChannelNone,
			[]byte(`{"kind":"forgotten","lines":1}`)
	}
	return nil
}

func replaceIt(s *Spool, r *Recording) (*Recording, error) {
	sealed, _ := r.Sealed()
	names, err := listSegments(s.fs, r.dir)
	if err != nil {
		return nil, err
	}
	return s.Rewrite(r.Info(), sealed, r.sources(names), []byte("note"), withoutSecrets)
}

// frames returns index and payload of every frame, and whether a secret is among them.
func frames(t testing.TB, r *Recording) (out []string, secret bool) {
	t.Helper()
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s", f.Index, f.Payload))
		secret = secret || bytes.Contains(f.Payload, []byte("SECRET"))
	}
	return out, secret
}

func TestRewrite(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SegmentSize: 400, SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := secretFrames(t, s, "DE_1")
	if err := old.WriteExport([]byte("e")); err != nil {
		t.Fatal(err)
	}
	before, _ := frames(t, old)
	r, err := replaceIt(s, old)
	if err != nil {
		t.Fatal(err)
	}
	after, secret := frames(t, r)
	if secret || len(after) != len(before) || r.State() != StateSealed {
		t.Errorf("state %s, %d frames of %d:\n%q", r.State(), len(after), len(before), after)
	}
	for i := range before {
		if i%3 != 0 && before[i] != after[i] {
			t.Errorf("frame %q became %q", before[i], after[i])
		}
	}
	err = filepath.WalkDir(s.Dir(), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(path); bytes.Contains(b, []byte("SECRET")) {
				t.Errorf("%s still has it", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := r.Sealed()
	was, _ := old.Sealed()
	if len(sealed.Segments) != len(was.Segments) || sealed.Reason != was.Reason ||
		sealed.EndedUnixNS != was.EndedUnixNS {
		t.Errorf("sealed %+v, was %+v", sealed, was)
	}
	// The one that was replaced cannot do harm any more.
	if err := old.WriteUploaded([]byte("u")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("the replaced one: %v", err)
	}
	if un, err := r.PurgePending(); err != nil || !un {
		t.Errorf("purge pending: %v, %v", un, err)
	}
	if err := r.MarkPurged(); err != nil {
		t.Fatal(err)
	}
	if un, err := r.PurgePending(); err != nil || un {
		t.Errorf("purged: %v, %v", un, err)
	}
	// Once more, with nothing to do: the same bytes.
	again, err := replaceIt(s, r)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := frames(t, again); !cmp.Equal(got, after) {
		t.Errorf("again: %q", got)
	}
	open, err := s.Create(Info{EgressID: "DE_open"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceIt(s, open); !errors.Is(err, ErrState) {
		t.Errorf("an open recording: %v", err)
	}
}

// Damage stays stated, by frames of its own, and what could not be read is gone.
func TestRewriteOfDamage(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SegmentSize: 400, SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := secretFrames(t, s, "DE_1")
	name := filepath.Join(old.Dir(), "000002.seg")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 110; i < 240; i++ {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := frames(t, old)
	r, err := replaceIt(s, old)
	if err != nil {
		t.Fatal(err)
	}
	check := func(r *Recording) []string {
		t.Helper()
		next, corrupt := uint64(1), 0
		for f, err := range r.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			if f.Index != next {
				t.Errorf("index %d, want %d", f.Index, next)
			}
			next++
			if ev, err := segment.DecodeEvent(f.Payload); err == nil &&
				ev.Kind == textegress.KindCorrupt {
				corrupt++
			}
		}
		if next != 21 || corrupt != 1 {
			t.Errorf("%d frames, %d corrupt", next-1, corrupt)
		}
		out, _ := frames(t, r)
		return out
	}
	after := check(r)
	if len(after) <= len(before) {
		t.Errorf("%d frames, before %d: none stands for those that are missing", len(after),
			len(before))
	}
	again, err := replaceIt(s, r)
	if err != nil {
		t.Fatal(err)
	}
	if got := check(again); !cmp.Equal(got, after) {
		t.Errorf("again: %q, want %q", got, after)
	}
}

// crashReplace fills a spool and replaces its recording, and says how far it came.
func crashReplace(fs *durabletest.CrashFS) (begun bool, err error) {
	s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet, SegmentSize: 400})
	if err != nil {
		return false, err
	}
	defer s.Close()
	r, err := s.Create(Info{EgressID: "DE_1"})
	if err != nil {
		return false, err
	}
	w, err := r.Writer()
	if err != nil {
		return false, err
	}
	for i := range 12 {
		text := fmt.Sprintf("message %d", i+1)
		if i%3 == 0 {
			text = fmt.Sprintf("SECRET %d", i+1)
		}
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket, UnixNS: int64(i + 1),
			Payload: []byte(text),
		}); err != nil {
			return false, err
		}
	}
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		return false, err
	}
	_, err = replaceIt(s, r)
	return true, err
}

// Whatever moment the power fails in, and whatever of the last operations survives by chance: the
// recording is there, the old or the new one, whole, and the second try succeeds.
func TestRewriteCrash(t *testing.T) {
	for at := 1; ; at++ {
		fs := durabletest.NewCrashFS(at, at%70)
		begun, err := crashReplace(fs)
		if !begun {
			continue
		}
		for seed := range uint64(12) {
			var rng *rand.Rand
			if seed > 0 {
				rng = rand.New(rand.NewPCG(seed, uint64(at)))
			}
			after := fs.Restart(rng)
			s, oerr := Open("/srv/data", Options{FS: after, SyncInterval: quiet, SegmentSize: 400})
			if oerr != nil {
				t.Fatalf("crash at operation %d: %v", at, oerr)
			}
			r, ok := s.Recording("DE_1")
			if !ok || r.State() != StateSealed {
				t.Fatalf("crash at operation %d, seed %d: the recording is gone", at, seed)
			}
			got, secret := frames(t, r)
			if un, uerr := r.PurgePending(); len(got) != 12 || uerr != nil || un == secret ||
				err == nil && secret {
				t.Fatalf("crash at operation %d, seed %d (%v): replaced %v: %q", at, seed, err, un,
					got)
			}
			if r, oerr = replaceIt(s, r); oerr != nil {
				t.Fatalf("crash at operation %d: second try: %v", at, oerr)
			}
			if got, secret := frames(t, r); secret || len(got) != 12 {
				t.Errorf("crash at operation %d: after the second try: %q", at, got)
			}
			if entries, _ := after.ReadDir("test", "/srv/data/recordings"); len(entries) != 1 {
				t.Errorf("crash at operation %d: left behind: %v", at, entries)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if !fs.Crashed() {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}
