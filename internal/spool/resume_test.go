package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// counter is a follower that counts.
type counter struct{ s segment.State }

func (c *counter) Restore(s segment.State) { c.s = s }
func (c *counter) State() segment.State    { return c.s }

func (c *counter) Frame(f segment.Frame) {
	c.s.LastUnixNS = f.UnixNS
	if f.Type == segment.FramePacket {
		c.s.Packets++
	}
}

// resumedLife records in three processes of which the first two leave the recording open, and
// returns how many packets were acknowledged.
func resumedLife(fs *durabletest.CrashFS) (acknowledged int, err error) {
	for range 3 {
		s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet, SegmentSize: 500})
		if err != nil {
			return acknowledged, err
		}
		r, ok := s.Recording("DE_life")
		if !ok {
			if r, err = s.Create(Info{EgressID: "DE_life", SessionID: "session"}); err != nil {
				return acknowledged, errors.Join(err, s.Close())
			}
		}
		w, err := r.Resume(&counter{})
		for i := 0; err == nil && i < 9; i++ {
			if i%4 == 3 {
				err = w.Sync()
			}
			if err == nil {
				err = w.Append(segment.Frame{
					Type: segment.FramePacket, Payload: fmt.Appendf(nil, "packet %d", i),
				})
			}
			if err == nil {
				acknowledged++
			}
		}
		if err = errors.Join(err, s.Close()); err != nil {
			return acknowledged, err
		}
	}
	return acknowledged, nil
}

// packets returns the payloads of a recording's packets, and how many states are before them.
func packets(t *testing.T, r *Recording) (payloads []string, states int) {
	t.Helper()
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case segment.FramePacket:
			payloads = append(payloads, string(f.Payload))
		case segment.FrameState:
			states++
		}
	}
	return payloads, states
}

// resume continues what is left after a crash, and returns what was there and what its follower
// knows. What was there survives the next crash.
func resume(t *testing.T, fs *durabletest.CrashFS) (there []string, known uint64) {
	t.Helper()
	s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet, SegmentSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, ok := s.Recording("DE_life")
	if !ok {
		return nil, 0
	}
	there, _ = packets(t, r)
	var last uint64
	for f := range r.Frames() {
		last = f.Index
	}
	var c counter
	w, err := r.Resume(&c)
	if err != nil {
		t.Fatal(err)
	}
	known = c.s.Packets
	if err := w.Append(segment.Frame{
		Type: segment.FramePacket, Payload: []byte("next"),
	}); err != nil {
		t.Fatal(err)
	}
	var next uint64
	for f := range r.Frames() {
		next = f.Index
	}
	if next <= last {
		t.Errorf("index %d after %d", next, last)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	after, err := Open("/srv/data", Options{FS: fs.Restart(nil), SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if r, ok = after.Recording("DE_life"); !ok {
		t.Fatal("the recording is gone after the next power failure")
	}
	got, _ := packets(t, r)
	if d := cmp.Diff(append(there, "next"), got); d != "" {
		t.Errorf("after the next power failure (-was there +is there):\n%s", d)
	}
	return there, known
}

// TestResume_CrashAtEveryOp lets the machine crash, or the process be killed, at every operation of
// a recording that is continued twice.
func TestResume_CrashAtEveryOp(t *testing.T) {
	for at := 1; ; at++ {
		fs := durabletest.NewCrashFS(at, at%70)
		acknowledged, err := resumedLife(fs)
		if err != nil && !errors.Is(err, durabletest.ErrCrashed) {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			there, known := resume(t, fs.Killed())
			if len(there) < acknowledged || known != uint64(len(there)) {
				t.Errorf("killed: %d packets are there, %d are known, %d were acknowledged",
					len(there), known, acknowledged)
			}
			for seed := range uint64(20) {
				there, known := resume(t, fs.Restart(rand.New(rand.NewPCG(seed, uint64(at)))))
				if known < uint64(len(there)) {
					t.Errorf("power failure %d: %d packets are there, and %d are known", seed,
						len(there), known)
				}
			}
		})
		if t.Failed() {
			t.Logf("crashed at operation %d", at)
			return
		}
		if !fs.Crashed() {
			if acknowledged != 27 || at < 60 {
				t.Errorf("%d packets, %d operations", acknowledged, at)
			}
			return
		}
	}
}

// Each segment that has frames before it begins with a state, and a larger state than fits stands
// with one frame behind it.
func TestStateAtTheHead(t *testing.T) {
	fs := durabletest.NewCrashFS(0, 0)
	s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet, SegmentSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Create(Info{EgressID: "DE_life", SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Resume(&counter{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Append(segment.Frame{Type: segment.FramePacket}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(f.Type, f.Index))
	}
	want := []string{"1 1", "3 2", "1 3", "3 4", "1 5"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("type and index of the frames (-want +got):\n%s", d)
	}
}

// A sealed recording needs no states. When somebody is removed from it, nothing stays in them.
func TestRewriteEmptiesStates(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SyncInterval: quiet, SegmentSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Create(Info{EgressID: "DE_life", SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Resume(&counter{s: segment.State{
		Present: []segment.Present{{ParticipantSID: "PA_bob", Identity: "SECRET"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket, Payload: []byte("message"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if _, secret := frames(t, r); !secret {
		t.Fatal("no state names the participant")
	}
	if r, err = replaceIt(s, r); err != nil {
		t.Fatal(err)
	}
	got, _ := frames(t, r)
	want := []string{"1 message", "2 {}", "3 message", "4 {}", "5 message"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("after the rewrite (-want +got):\n%s", d)
	}
}
