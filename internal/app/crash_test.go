package app_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// TestLife_CrashAtEveryOp lets the machine, or the process, end at every single
// operation on the disk, from the announcement to the removal of the last trace:
// once on a disk with room, once on one that is full for two minutes. Whatever
// comes of it, the next processes finish the recording: what was counted durable
// (for a process that ended alone: what was counted as recorded) is delivered
// exactly once, nothing else is, what is missing is stated, and no object in the
// bucket ever changes.
func TestLife_CrashAtEveryOp(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("full %v", full), func(t *testing.T) {
			points := 0
			for at := 1; ; at += crashStride {
				over := false
				synctest.Test(t, func(t *testing.T) { over = crashAt(t, at, full) })
				if t.Failed() {
					t.Fatalf("at operation %d", at)
				}
				if over {
					break
				}
				points++
			}
			t.Logf("%d crash points, each with three restarts", points)
			if points*crashStride < 70 {
				t.Errorf("only %d operations in a life", points*crashStride)
			}
		})
	}
}

// crashAt lives one life until it crashes at the at-th operation, and then on in
// three ways. It returns whether there was no such operation any more.
func crashAt(t *testing.T, at int, full bool) bool {
	dir := filepath.Join(t.TempDir(), "data")
	fsys := durabletest.NewCrashFS(at, at%90)
	l := newLife(t, dir)
	if full {
		l.before = fillUp(fsys)
	}
	done := l.process(fsys, fsys.Crashed)
	if done {
		if c := l.verify(l.session.recorded); c.CorruptRanges > 0 || c.FramesMissing > 0 {
			t.Errorf("%+v", c)
		}
		return true
	}
	for name, after := range map[string]*durabletest.CrashFS{
		"power": fsys.Restart(nil), "killed": fsys.Killed(),
		"chance": fsys.Restart(rand.New(rand.NewPCG(1, uint64(at)))),
	} {
		if at%2 == 0 { // the staging is derived data, which may be there or not
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		next := l.clone()
		next.finish(after)
		must := maps.Clone(l.session.durable)
		if name == "killed" {
			must = maps.Clone(l.session.recorded)
		}
		for n := range next.session.recorded {
			if !l.session.recorded[n] {
				must[n] = true // by the processes after the crash, which was the last
			}
		}
		// Where chance has written one segment and not the one before, something can
		// be missing that nobody had counted on.
		if c := next.verify(must); (c.CorruptRanges > 0 || c.FramesMissing > 0) &&
			name != "chance" {
			t.Errorf("%+v", c)
		}
		if t.Failed() {
			t.Fatalf("after %q: %+v, then %+v", name, l.session, next.session)
		}
	}
	return false
}

// fillUp fills the disk before the third message and frees it two minutes later:
// long enough for an outage.
func fillUp(fsys *durabletest.CrashFS) func(n int) {
	return func(n int) {
		if n != 3 {
			return
		}
		fsys.SetCapacity(fsys.Used())
		time.AfterFunc(2*time.Minute, func() { fsys.SetCapacity(0) })
	}
}
