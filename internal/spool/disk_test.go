package spool

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// small is a disk of 64 KiB that is nearly full below 16 KiB, with a
// ballast of 1 KiB.
func small() (*durabletest.CrashFS, Options) {
	fs, o := memory()
	fs.SetCapacity(64 << 10)
	o.DiskMinFree = 16 << 10
	return fs, o
}

// fillDisk fills the disk until only left bytes are free, and returns what removes
// it again.
func fillDisk(t *testing.T, fs *durabletest.CrashFS, left int64) (remove func()) {
	t.Helper()
	f, err := fs.Create("filler", "/filler")
	if err != nil {
		t.Fatal(err)
	}
	space, err := fs.Space("filler", "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(int64(space.Free) - left); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := fs.Remove("filler", "/filler"); err != nil {
			t.Fatal(err)
		}
	}
}

func ballastSize(fs *durabletest.CrashFS) int64 {
	f, err := fs.Open("test", "/data/ballast")
	if err != nil {
		return 0
	}
	n, _ := f.Size()
	return n
}

func TestSegmentAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, o := memory()
		o.SyncInterval, o.SegmentAge = 100*time.Millisecond, time.Minute
		s := openSpool(t, "/data", o)
		r, w := newRecording(t, s)
		segments := func(want int) {
			t.Helper()
			if names, err := listSegments(mem, r.Dir()); err != nil || len(names) != want {
				t.Errorf("segments %v, %v, want %d", names, err, want)
			}
		}
		appendText(t, w, "one")
		time.Sleep(50 * time.Second)
		appendText(t, w, "two")
		segments(1)
		time.Sleep(17 * time.Second) // its age, a tenth, and a sync
		synctest.Wait()
		w.mu.Lock()
		if w.segment != nil || len(w.retired) > 0 {
			t.Error("a segment of its age is still open although nothing was appended")
		}
		w.mu.Unlock()
		if w.Durable() != 2 {
			t.Errorf("%d of 2 frames durable", w.Durable())
		}
		segments(1)
		time.Sleep(time.Hour)
		segments(1) // in which nothing happened
		appendText(t, w, "three")
		segments(2)
		wantTexts(t, r, "one", "two", "three")
	})
}

// TestDiskLow: nearly full, new sessions are refused and taken again, open
// recordings and further parts of sessions go on.
func TestDiskLow(t *testing.T) {
	fs, o := small()
	s := openSpool(t, "/data", o)
	_, w := newRecording(t, s)
	remove := fillDisk(t, fs, 10<<10)
	_, err := s.Create(Info{SessionID: "new"})
	if !errors.Is(err, diskguard.ErrLow) ||
		!strings.Contains(err.Error(), "DISK_MIN_FREE is 16 KiB") ||
		!strings.Contains(err.Error(), "/data") {
		t.Errorf("a new session: %v", err)
	}
	if n := counterValue(t, s.metrics.refused); n != 1 {
		t.Errorf("refused_total = %v", n)
	}
	if d := s.Disk(); !d.Low || d.Full || d.Since.IsZero() || d.Free > 10<<10 ||
		d.Ballast != 1<<10 {
		t.Errorf("%+v", d)
	}
	if _, err := s.Create(Info{SessionID: "old", Part: 2, Previous: "DE_1"}); err != nil {
		t.Errorf("a further part: %v", err)
	}
	appendText(t, w, "goes on")
	seal(t, w)
	remove()
	if _, err := s.Create(Info{SessionID: "new"}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if d := s.Disk(); d.Low || !d.Since.IsZero() {
		t.Errorf("%+v", d)
	}
}

// TestDiskFull: no space at all. Packets are refused, what must be said is said at
// the cost of the ballast, and everything is as before when there is space.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, o := small()
		s := openSpool(t, "/data", o)
		r, w := newRecording(t, s)
		other, w2 := newRecording(t, s)
		appendText(t, w, "before")
		remove := fillDisk(t, fs, 0)

		err := w.Append(segment.Frame{Type: segment.FramePacket, Payload: []byte("hit")})
		if !errors.Is(err, syscall.ENOSPC) || !diskguard.IsFull(err) {
			t.Errorf("a packet on a full disk: %v", err)
		}
		if err := w.Writable(); !diskguard.IsFull(err) {
			t.Errorf("writable: %v", err)
		}
		if ballastSize(fs) != 1<<10 {
			t.Error("a packet took the ballast")
		}
		if _, err := s.Create(Info{Part: 2}); !errors.Is(err, diskguard.ErrLow) {
			t.Errorf("a further part on a full disk: %v", err)
		}
		for _, w := range []*Writer{w, w2} {
			if err := w.AppendReserved(segment.Frame{
				Type:    segment.FrameEvent,
				Payload: []byte(`{"kind":"outage_started"}`),
			}); err != nil {
				t.Fatalf("the outage cannot be stated: %v", err)
			}
		}
		if d := s.Disk(); !d.Full || d.Ballast != 0 || ballastSize(fs) != 0 {
			t.Errorf("%+v, ballast of %d bytes", d, ballastSize(fs))
		}
		// What the ballast gave is not for packets, although there is room for one.
		time.Sleep(time.Second)
		if err := w2.Append(segment.Frame{
			Type:    segment.FramePacket,
			Payload: []byte("x"),
		}); !errors.Is(err,
			diskguard.ErrFull) {
			t.Errorf("a packet after the ballast was released: %v", err)
		}
		fs.SetCapacity(fs.Used() + 400) // somebody else takes most of what is left
		seal(t, w2)
		if other.State() != StateSealed {
			t.Error("not sealed")
		}
		fs.SetCapacity(64 << 10)
		remove()
		time.Sleep(100 * time.Millisecond)
		if err := w.Writable(); err != nil {
			t.Errorf("with space again: %v", err)
		}
		if d := s.Disk(); d.Full || d.Low || d.Ballast != 1<<10 || ballastSize(fs) != 1<<10 {
			t.Errorf("%+v, ballast of %d bytes", d, ballastSize(fs))
		}
		appendText(t, w, "after")
		wantTexts(t, r, "before", `{"kind":"outage_started"}`, "after")
		if err := w.Sync(); err != nil {
			t.Error(err)
		}
	})
}

// TestDiskFull_NoticedWithoutAnybodyAsking: the keeper sees the space come back.
func TestDiskFull_NoticedWithoutAnybodyAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, o := small()
		s := openSpool(t, "/data", o)
		remove := fillDisk(t, fs, 0)
		_, err := s.Create(Info{})
		if !errors.Is(err, diskguard.ErrLow) {
			t.Errorf("%v", err)
		}
		remove()
		time.Sleep(diskguard.PollEvery)
		synctest.Wait()
		if d := s.Disk(); d.Low || d.Full {
			t.Errorf("%+v", d)
		}
	})
}

// TestDiskFull_Quota: no space for us although the file system has some: the
// packets are tried, and nobody is told the same again and again.
func TestDiskFull_Quota(t *testing.T) {
	mem, o := small()
	fault := &durabletest.Fault{FS: mem}
	o.FS = fault
	s := openSpool(t, "/data", o)
	_, w := newRecording(t, s)
	appendText(t, w, "before")
	fault.Hook = func(c durabletest.Call) (int, error) {
		if c.Label == "segment" && c.Name == "write" {
			return 0, syscall.EDQUOT
		}
		return 0, nil
	}
	for range 3 {
		if err := w.Append(segment.Frame{Type: segment.FramePacket}); !errors.Is(err,
			syscall.EDQUOT) {
			t.Errorf("%v", err)
		}
	}
	if s.Disk().Full {
		t.Error("the disk counts as full")
	}
	fault.Hook = nil
	appendText(t, w, "after")
}

// TestDiskFull_AtTheStart: a service that ends on a full disk, its ballast spent,
// opens what is there, delivers, and is whole again when there is space.
func TestDiskFull_AtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, o := small()
		s := openSpool(t, "/data", o)
		r, w := newRecording(t, s)
		appendText(t, w, "before")
		remove := fillDisk(t, fs, 0)
		if err := w.AppendReserved(segment.Frame{
			Type:    segment.FrameEvent,
			Payload: []byte("{}"),
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs.SetCapacity(fs.Used())
		s = openSpool(t, "/data", o)
		if d := s.Disk(); !d.Full || !d.Low || d.Ballast != 0 {
			t.Errorf("%+v", d)
		}
		r, _ = s.Recording(r.ID())
		w = openWriter(t, r)
		wantTexts(t, r, "before", "{}")
		if err := w.AppendReserved(segment.Frame{
			Type:    segment.FrameEvent,
			Payload: []byte("{}"),
		}); !diskguard.IsFull(err) {
			t.Errorf("without any space: %v", err)
		}
		fs.SetCapacity(64 << 10)
		remove()
		time.Sleep(diskguard.PollEvery)
		synctest.Wait()
		if d := s.Disk(); d.Full || d.Low || d.Ballast != 1<<10 {
			t.Errorf("%+v", d)
		}
		appendText(t, w, "after")
		wantTexts(t, r, "before", "{}", "after")
	})
}

// TestBallast_CrashAtEveryOp: the machine fails while the ballast is created,
// released and created again. The next start finds it whole or not at all, and makes it.
func TestBallast_CrashAtEveryOp(t *testing.T) {
	life := func(fs *durabletest.CrashFS, o Options) error {
		o.FS = fs
		s, err := Open("/data", o)
		if err != nil {
			return err
		}
		defer s.Close()
		_ = s.disk.WithBallast(func() error { return syscall.ENOSPC })
		s.disk.PollIfDue(time.Now().Add(time.Hour))
		return nil
	}
	for at := 1; ; at++ {
		_, o := small()
		fs := durabletest.NewCrashFS(at, 100)
		fs.SetCapacity(64 << 10)
		_ = life(fs, o) // that it crashes is the point
		for seed := range uint64(8) {
			var rng *rand.Rand
			if seed > 0 {
				rng = rand.New(rand.NewPCG(seed, uint64(at)))
			}
			after := fs.Restart(rng)
			after.SetCapacity(64 << 10)
			o.FS = after
			s := openSpool(t, "/data", o)
			if d := s.Disk(); d.Full || d.Ballast != 1<<10 || ballastSize(after) != 1<<10 {
				t.Fatalf("crash at %d: %+v, ballast of %d bytes", at, d, ballastSize(after))
			}
			if there, _ := after.Exists("test", "/data/ballast"+durable.TempSuffix); there {
				t.Errorf("crash at %d: an unfinished ballast is left", at)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if !fs.Crashed() {
			if at < 15 {
				t.Errorf("only %d operations", at)
			}
			return
		}
	}
}

// TestBallast_AnotherSize: DISK_MIN_FREE was changed.
func TestBallast_AnotherSize(t *testing.T) {
	fs, o := small()
	if err := openSpool(t, "/data", o).Close(); err != nil {
		t.Fatal(err)
	}
	o.DiskMinFree *= 2
	s := openSpool(t, "/data", o)
	if d := s.Disk(); d.Ballast != 2<<10 || ballastSize(fs) != 2<<10 {
		t.Errorf("%+v, ballast of %d bytes", d, ballastSize(fs))
	}
}

// TestBallast_Faults: a disk that does not let us have a ballast, or does not tell
// its space, is recorded on all the same.
func TestBallast_Faults(t *testing.T) {
	for _, name := range []string{
		"create", "allocate", "sync", "rename", "syncdir", "space",
		"remove",
	} {
		t.Run(name, func(t *testing.T) {
			mem, o := small()
			fault := &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
				if (c.Label == "reserve" || c.Label == "space") && c.Name == name {
					return 0, syscall.EIO
				}
				return 0, nil
			}}
			o.FS = fault
			s := openSpool(t, "/data", o)
			r, w := newRecording(t, s)
			appendText(t, w, "goes on")
			fault.Hook = nil
			s.disk.PollIfDue(time.Now().Add(time.Hour))
			if d := s.Disk(); d.Ballast != 1<<10 || d.Full || d.Low {
				t.Errorf("%+v", d)
			}
			wantTexts(t, r, "goes on")
		})
	}
}

// TestFailedSync_CountsAgainstTheDiskForAWhile: readiness ends with the failures,
// the suspicion never.
func TestFailedSync_CountsAgainstTheDiskForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, o := memory()
		fault := &durabletest.Fault{FS: mem}
		o.FS, o.SyncInterval = fault, 200*time.Millisecond
		s := openSpool(t, "/data", o)
		r, w := newRecording(t, s)
		fault.Hook = func(c durabletest.Call) (int, error) {
			if c.Label == "segment" && c.Name == "sync" {
				return 0, syscall.EIO
			}
			return 0, nil
		}
		appendText(t, w, "one")
		time.Sleep(o.SyncInterval)
		synctest.Wait()
		failed := time.Now()
		fault.Hook = nil
		appendText(t, w, "two")
		time.Sleep(failedSyncFor - time.Nanosecond)
		synctest.Wait()
		if w.Durable() != 1 {
			t.Errorf("%d frames durable, want the one of the new segment", w.Durable())
		}
		if d := cmp.Diff([]FailedSync{{r.ID(), failed}}, s.Disk().FailedSyncs); d != "" {
			t.Error(d)
		}
		time.Sleep(time.Nanosecond)
		if got := s.Disk().FailedSyncs; got != nil {
			t.Errorf("%v", got)
		}
		if !r.Suspect() || s.countSuspect() != 1 {
			t.Error("the suspicion is gone")
		}
		seal(t, w)
		ro, err := s.loadRecording(r.Dir(), true)
		if err != nil || !ro.Suspect() {
			t.Errorf("on disk: %v, %v", ro, err)
		}
	})
}

func TestCheckStaging(t *testing.T) {
	fs, o := small()
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	appendText(t, w, strings.Repeat("x", 4<<10))
	seal(t, w)
	if err := r.CheckStaging(); err != nil {
		t.Error(err)
	}
	// a quarter of DiskMinFree, and hardly what it may need
	remove := fillDisk(t, fs, 4<<10+8<<10+100)
	if err := r.CheckStaging(); !errors.Is(err, diskguard.ErrLow) ||
		!strings.Contains(err.Error(), "4096 bytes stay reserved") {
		t.Errorf("%v", err)
	}
	remove()
	if err := r.CheckStaging(); err != nil {
		t.Error(err)
	}
}

// TestVital_EveryStateFile: sealing, freezing, marking as delivered and as suspect
// work on a full disk, as long as the ballast lasts.
func TestVital_EveryStateFile(t *testing.T) {
	for _, step := range []string{"seal", "export", "uploaded"} {
		t.Run(step, func(t *testing.T) {
			fs, o := small()
			s := openSpool(t, "/data", o)
			r, w := newRecording(t, s)
			appendText(t, w, "one")
			do := func(name string, f func() error) {
				t.Helper()
				if name == step {
					fillDisk(t, fs, 0)
				}
				if err := f(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			do("seal", func() error { return w.Seal(Sealed{Status: textegress.StatusComplete}) })
			do("export", func() error { return r.WriteExport([]byte("{}")) })
			do("uploaded", func() error { return r.WriteUploaded([]byte("{}")) })
			if r.State() != StateUploaded || !s.Disk().Full {
				t.Errorf("%s, %+v", r.State(), s.Disk())
			}
			if err := r.RemoveData(); err != nil {
				t.Errorf("removing on a full disk: %v", err)
			}
		})
	}
}

// TestDiskFull_AnyFile: a file that can be done without finds no space. Packets are refused from
// then on, before one of them has been tried.
func TestDiskFull_AnyFile(t *testing.T) {
	fs, o := small()
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	appendText(t, w, "before")
	fillDisk(t, fs, 0)
	if err := r.KeepJoin(Join{URL: "wss://x", Token: "t"}); !diskguard.IsFull(err) {
		t.Fatalf("%v, want a full disk", err)
	}
	if d := s.Disk(); !d.Full || d.Ballast != 1<<10 {
		t.Errorf("%+v", d)
	}
	if err := w.Append(segment.Frame{Type: segment.FramePacket}); !errors.Is(err,
		diskguard.ErrFull) {
		t.Errorf("a packet: %v", err)
	}
}

// TestFailedSync_IsNeverRetried: whatever follows a failed fsync, going on, closing,
// opening again, sealing, that file is not synced once more.
func TestFailedSync_IsNeverRetried(t *testing.T) {
	mem, o := memory()
	syncs := map[string]int{}
	failing := true
	o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
		if c.Name != "sync" || !strings.HasSuffix(c.Path, ".seg") {
			return 0, nil
		}
		syncs[filepath.Base(c.Path)]++
		if failing {
			return 0, syscall.EIO
		}
		return 0, nil
	}}
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	appendText(t, w, "one")
	if err := w.Sync(); err == nil {
		t.Fatal("no error")
	}
	failing = false
	appendText(t, w, "two")
	if err := w.Sync(); err == nil {
		t.Error("the failure is forgotten")
	}
	if err := w.Close(); err == nil {
		t.Error("the failure is forgotten")
	}
	w = openWriter(t, r)
	appendText(t, w, "three")
	seal(t, w)
	if syncs["000001.seg"] != 1 || syncs["000002.seg"] < 1 || syncs["000003.seg"] < 1 {
		t.Errorf("syncs by file: %v", syncs)
	}
	wantTexts(t, r, "one", "two", "three")
	if sealed, _ := r.Sealed(); !sealed.Suspect {
		t.Error("not suspect")
	}
}
