package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// life is what a caller of the spool knows: what was acknowledged, and what was
// only begun.
type life struct {
	id       string
	instance string
	written  []string // Append was called
	recorded int      // of them acknowledged
	durable  int      // of them before a Sync that succeeded
	state    State    // acknowledged; "" before Create
	join     Join     // the last that was kept
	forget   bool     // Forget was called
	forgot   bool     // and acknowledged
}

// run takes one recording through its life until something fails.
func (l *life) run(fs *durabletest.CrashFS) error {
	s, err := Open("/srv/data", Options{
		FS: fs, SyncInterval: quiet, SegmentSize: 400,
		DiskMinFree: 1600,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if l.instance, err = s.Instance(); err != nil {
		return err
	}
	l.id = NewEgressID()
	r, err := s.Create(Info{EgressID: l.id, SessionID: "session"})
	if err != nil {
		return err
	}
	l.state = StateOpen
	for range 2 { // the second time as after a restart
		w, err := r.Writer()
		if err != nil {
			return err
		}
		for range 7 {
			l.written = append(l.written, fmt.Sprintf("message %d", len(l.written)+1))
			if err := w.Append(segment.Frame{
				Type:    segment.FramePacket,
				Payload: []byte(l.written[len(l.written)-1]),
			}); err != nil {
				return err
			}
			if l.recorded++; l.recorded%3 == 0 {
				if err := w.Sync(); err != nil {
					return err
				}
				l.durable = l.recorded
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
		l.durable = l.recorded
		join := Join{
			URL: "wss://lk", Token: fmt.Sprintf("secret %02d", l.recorded),
			InRoomUnixNS: 1,
		}
		if err := r.KeepJoin(join); err != nil {
			return err
		}
		l.join = join
	}
	w, err := r.Writer()
	if err != nil {
		return err
	}
	for _, step := range []struct {
		to State
		do func() error
	}{
		{StateSealed, func() error { return w.Seal(Sealed{Status: textegress.StatusComplete}) }},
		{StateExported, func() error { return r.WriteExport([]byte("e")) }},
		{StateUploaded, func() error { return r.WriteUploaded([]byte("u")) }},
		{StateRemoved, r.RemoveData},
	} {
		if err := step.do(); err != nil {
			return err
		}
		l.state = step.to
	}
	l.forget = true
	if err := r.Delete(); err != nil {
		return err
	}
	l.forgot = true
	return nil
}

var stateOrder = map[State]int{
	StateOpen: 1, StateSealed: 2, StateExported: 3, StateUploaded: 4,
	StateRemoved: 5,
}

// checkJoin: a token that was kept is there as long as the recording is open, and no longer.
func (l *life) checkJoin(t *testing.T, fs *durabletest.CrashFS, r *Recording) {
	t.Helper()
	if r.State() == StateOpen {
		if j, ok := r.Join(); l.join.Token != "" && (!ok || j.Token < l.join.Token) {
			t.Errorf("kept %v %v, want %v", ok, j.Token, l.join.Token)
		}
		return
	}
	for _, name := range []string{joinName, joinName + durable.TempSuffix} {
		if there, err := fs.Exists("test", r.path(name)); there || err != nil {
			t.Errorf("%s of a recording that is %s: %v, %v", name, r.State(), there, err)
		}
	}
}

// check opens what the crash left, compares it with what was acknowledged, and
// lives on.
func (l *life) check(t *testing.T, fs *durabletest.CrashFS) {
	t.Helper()
	s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if p := s.Problems(); len(p) > 0 {
		t.Errorf("problems: %v", p)
	}
	if name, err := s.Instance(); err != nil || l.instance != "" && name != l.instance {
		t.Errorf("instance %q, %v; was %q", name, err, l.instance)
	}
	r, ok := s.Recording(l.id)
	if !ok {
		if l.state != "" && !l.forget {
			t.Fatalf("a recording that was %s is gone", l.state)
		}
		return
	}
	if l.forgot {
		t.Fatal("a forgotten recording is back")
	}
	l.checkJoin(t, fs, r)
	if stateOrder[r.State()] < stateOrder[l.state] {
		t.Errorf("state %s, it was %s", r.State(), l.state)
	}
	if r.Info().SessionID != "session" {
		t.Errorf("info %+v", r.Info())
	}
	frames, corrupt := split(t, collect(t, r.Frames()))
	if stateOrder[r.State()] < stateOrder[StateUploaded] {
		l.checkFrames(t, frames)
	} else { // RemoveData may have come half way
		corrupt = nil
	}
	if r.State() != StateOpen {
		if sealed, ok := r.Sealed(); !ok || len(corrupt) > 0 || sealed.Suspect {
			t.Errorf("sealed %+v, %v, corrupt %+v", sealed, ok, corrupt)
		}
		return
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(segment.Frame{
		Type:    segment.FramePacket,
		Payload: []byte("on we go"),
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(Sealed{Status: textegress.StatusFailed}); err != nil {
		t.Fatal(err)
	}
	after, _ := split(t, collect(t, r.Frames()))
	if len(after) != len(frames)+1 || string(after[len(frames)].Payload) != "on we go" {
		t.Errorf("%d frames after going on, %d before", len(after), len(frames))
	}
	if n := len(after); n > 1 && after[n-1].Index <= after[n-2].Index {
		t.Errorf("index %d after %d", after[n-1].Index, after[n-2].Index)
	}
}

// checkFrames: all that was durable is there; of the rest, nothing that was not
// written, and in order.
func (l *life) checkFrames(t *testing.T, frames []segment.Frame) {
	t.Helper()
	if len(frames) < l.durable {
		t.Fatalf("%d frames, %d were durable", len(frames), l.durable)
	}
	last := uint64(0)
	for i, f := range frames {
		if f.Index <= last || f.Index > uint64(len(l.written)) ||
			string(f.Payload) != l.written[f.Index-1] {
			t.Fatalf("frame %d is %d %q", i, f.Index, f.Payload)
		}
		if i < l.durable && f.Index != uint64(i+1) {
			t.Fatalf("frame %d was durable, %d stands in its place", i+1, f.Index)
		}
		last = f.Index
	}
}

// TestSpool_CrashAtEveryOp lets the machine crash at every single operation of a
// recording's life, with only what was synced left, and with more by chance.
func TestSpool_CrashAtEveryOp(t *testing.T) {
	for at := 1; ; at++ {
		var l life
		fs := durabletest.NewCrashFS(at, at%70)
		err := l.run(fs)
		if err != nil && !errors.Is(err, durabletest.ErrCrashed) {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			l.check(t, fs.Restart(nil))
			for seed := range uint64(20) {
				l.check(t, fs.Restart(rand.New(rand.NewPCG(seed, uint64(at)))))
			}
		})
		if t.Failed() {
			t.Logf("crashed at operation %d: %+v", at, l)
			return
		}
		if !fs.Crashed() {
			if d := cmp.Diff(l.recorded, 14); d != "" || !l.forgot || at < 60 {
				t.Errorf("the life was not lived: %+v, %d operations", l, at)
			}
			return
		}
	}
}
