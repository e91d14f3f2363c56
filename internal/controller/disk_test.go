package controller_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// TestDiskNearlyFull: new sessions are refused, whoever asks for them, and taken
// when there is space; the one that is being recorded goes on.
func TestDiskNearlyFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		disk := durabletest.NewCrashFS(0, 0)
		w.fs, w.min = disk, 16<<10
		w.start()
		defer func() { w.stop() }()
		w.registry.set("s1", "Started")
		w.src.announce(t, "s1")
		synctest.Wait()
		disk.SetCapacity(disk.Used() + 8<<10)

		w.registry.set("s2", "Started")
		if err := w.src.Announce(session.Announcement{
			SessionID: "s2", Room: "room-s2", ReceivedAt: time.Now(),
		}); !errors.Is(err, diskguard.ErrLow) {
			t.Errorf("an announcement on a disk that is nearly full: %v; it must stay in the queue",
				err)
		}
		if _, err := w.ctl.Record(t.Context(), "s2"); !errors.Is(err, diskguard.ErrLow) ||
			!strings.Contains(err.Error(), "DISK_MIN_FREE") {
			t.Errorf("the command: %v", err)
		}
		time.Sleep(10 * time.Minute) // s2 is found by looking, and refused as well
		w.want("s1 part 1 open")
		w.room.conns["s1"].Handler.Packet(room.Reliable, time.Now(), []byte("goes on"))
		if s := w.ctl.Snapshot(); len(s.Recorders) != 1 || s.Recorders[0].Packets != 1 {
			t.Errorf("%+v", s.Recorders)
		}
		// Nobody announces s2 again; it is found soon after there is space.
		disk.SetCapacity(0)
		time.Sleep(10 * time.Second)
		w.want("s1 part 1 open", "s2 part 1 open")
	})
}

// TestDiskNearlyFull_PartsGoOn: a session that was being recorded before a restart
// is not a new one.
func TestDiskNearlyFull_PartsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		disk := durabletest.NewCrashFS(0, 0)
		w.fs, w.min = disk, 16<<10
		w.start()
		w.registry.set("s1", "Started")
		w.src.announce(t, "s1")
		synctest.Wait()
		w.stop()
		disk.SetCapacity(disk.Used() + 8<<10)
		w.start()
		defer func() { w.stop() }()
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
	})
}
