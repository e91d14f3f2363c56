package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// disk is a world on a disk of 64 KiB, of which 1 KiB is in reserve.
type disk struct {
	*world
	mem   *durabletest.CrashFS
	fails atomic.Pointer[error] // of every write of a frame
	fault *durabletest.Fault
}

func newDisk(t *testing.T, steps ...step) *disk {
	d := &disk{mem: durabletest.NewCrashFS(0, 0)}
	d.mem.SetCapacity(64 << 10)
	d.fault = &durabletest.Fault{FS: d.mem, Hook: func(c durabletest.Call) (int, error) {
		if err := d.fails.Load(); err != nil && c.Label == "segment" && c.Name == "write" {
			return 3, *err
		}
		return 0, nil
	}}
	s := d.open(t)
	rec, err := s.Create(spool.Info{
		EgressID: "DE_disk", SessionID: sessionID, RoomName: "class-1",
		ProjectID: "p", Part: 1, CreatedUnixNS: time.Now().UnixNano(),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.world = &world{
		t: t, spool: s, rec: rec, room: &fakeRoom{steps: steps},
		auth: &fakeAuthority{},
	}
	return d
}

func (d *disk) open(t *testing.T) *spool.Spool {
	t.Helper()
	s, err := spool.Open("/data", spool.Options{
		FS: d.fault, SyncInterval: time.Hour,
		DiskMinFree: 16 << 10, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill takes all space but the reserve; free gives it back.
func (d *disk) fill() { d.mem.SetCapacity(d.mem.Used()) }
func (d *disk) free() { d.mem.SetCapacity(64 << 10) }

func (d *disk) fail(err error) { d.fails.Store(&err) }
func (d *disk) works()         { d.fails.Store(nil) }

func packet(h room.Handler, text string) { h.Packet(room.Reliable, time.Now(), []byte(text)) }

// TestDisk_ReadingWaits: while the disk refuses, the reader stands still; when it
// takes data again within the patience, nothing is lost, and nothing is said.
func TestDisk_ReadingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *disk
		d = newDisk(t, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				packet(h, "a")
				d.fill()
				time.AfterFunc(29*time.Second, d.free)
				began := time.Now()
				packet(h, "b")
				if took := time.Since(began); took < 29*time.Second {
					t.Errorf("the reader got on after %v, before the disk did", took)
				}
				packet(h, "c")
				return room.ReasonRoomDeleted
			},
		})
		d.run(t.Context())
		want := []string{
			"recording_started", "joined RM_1", "packet a epoch 1", "packet b epoch 1",
			"packet c epoch 1",
			"recording_ended COMPLETE room_deleted",
		}
		if diff := cmp.Diff(want, d.story()); diff != "" {
			t.Errorf("the recording (-want +got):\n%s", diff)
		}
	})
}

// TestDisk_Outage: after the patience the room is left, the outage says from when
// on something may be missing, and when there is space the room is joined again.
func TestDisk_Outage(t *testing.T) {
	for _, tt := range []struct {
		name, cause string
		hit         func(*disk)
		mend        func(*disk)
	}{
		{"full", "disk_full", (*disk).fill, (*disk).free},
		{"no quota", "disk_full", func(d *disk) { d.fail(syscall.EDQUOT) }, (*disk).works},
		{"broken", "disk", func(d *disk) { d.fail(syscall.EIO) }, (*disk).works},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d *disk
				var before time.Time
				d = newDisk(t,
					step{
						info: info("RM_1", ours, "alice"),
						run: func(h room.Handler, left <-chan struct{}) room.Reason {
							before = time.Now()
							packet(h, "a")
							time.Sleep(time.Second)
							tt.hit(d)
							h.Event(room.Event{
								Type:        room.ParticipantJoined,
								Participant: room.Participant{SID: "PA_bob", Identity: "bob"},
							})
							packet(h, "given up")
							// The disk takes data again in the very moment: what comes now is
							// behind a hole that is not stated yet.
							tt.mend(d)
							time.Sleep(time.Second)
							packet(h, "refused")
							tt.hit(d)
							<-left
							packet(h, "refused, too")
							time.AfterFunc(time.Minute, func() { tt.mend(d) })
							return room.ReasonLeft
						},
					},
					step{
						info: info("RM_1", ours, "alice", "bob"),
						run: func(h room.Handler, _ <-chan struct{}) room.Reason {
							if since := time.Since(before); since < 90*time.Second {
								t.Errorf("in the room again after %v, before the disk was well",
									since)
							}
							packet(h, "b")
							return room.ReasonRoomDeleted
						},
					})
				d.run(t.Context())
				want := []string{
					"recording_started", "joined RM_1", "participant_joined alice",
					"packet a epoch 1", "outage_started " + tt.cause,
					"joined RM_1", "outage_ended", "participant_joined bob", "packet b epoch 2",
					"recording_ended COMPLETE room_deleted",
				}
				if diff := cmp.Diff(want, d.story()); diff != "" {
					t.Errorf("the recording (-want +got):\n%s", diff)
				}
				if out := d.outages(); len(out) != 1 || out[0].SinceUnixNS != before.UnixNano() {
					t.Errorf("outages %+v, want one since the last frame before it, %d", out,
						before.UnixNano())
				}
				if st := d.spool.Disk(); st.Full || st.Low || st.Ballast != 1<<10 {
					t.Errorf("afterwards: %+v", st)
				}
			})
		})
	}
}

// TestDisk_OtherChannelGetsThrough: of two readers one gives up and the other has
// written meanwhile. The outage begins before the frame that was given up.
func TestDisk_OtherChannelGetsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *disk
		var given time.Time
		d = newDisk(t,
			step{
				info: info("RM_1", ours),
				run: func(h room.Handler, left <-chan struct{}) room.Reason {
					packet(h, "a")
					time.Sleep(time.Second)
					given = time.Now()
					d.fail(syscall.EIO)
					done := make(chan struct{})
					go func() {
						defer close(done)
						packet(h, "given up")
					}()
					time.Sleep(10*time.Second + time.Millisecond) // between two tries
					d.works()
					h.Packet(room.Lossy, time.Now(), []byte("l"))
					d.fail(syscall.EIO)
					<-done
					<-left
					d.works()
					return room.ReasonLeft
				},
			},
			step{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted)})
		d.run(t.Context())
		if out := d.outages(); len(out) != 1 || out[0].SinceUnixNS > given.UnixNano() {
			t.Errorf("outages %+v; a packet received at %d is missing", out, given.UnixNano())
		}
	})
}

// TestDisk_SessionEnds: the room is deleted while we wait for a disk that stays
// full. The reserve is there for saying so.
func TestDisk_SessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *disk
		d = newDisk(t, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				packet(h, "a")
				d.fill()
				packet(h, "given up")
				return room.ReasonRoomDeleted
			},
		})
		began := time.Now()
		sealed := d.run(t.Context())
		if sealed.Status != textegress.StatusComplete || sealed.Reason != "room_deleted" ||
			time.Since(began) > time.Minute {
			t.Errorf("sealed %s (%s) after %v", sealed.Status, sealed.Reason, time.Since(began))
		}
		want := []string{
			"recording_started", "joined RM_1", "packet a epoch 1", "outage_started disk_full",
			"recording_ended COMPLETE room_deleted",
		}
		if diff := cmp.Diff(want, d.story()); diff != "" {
			t.Errorf("the recording (-want +got):\n%s", diff)
		}
		if !d.spool.Disk().Full {
			t.Error("the disk was not full")
		}
	})
}

// TestDisk_SessionEndsWhileAway: a recorder that waits outside for the disk
// notices that its session has ended.
func TestDisk_SessionEndsWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *disk
		d = newDisk(t, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, left <-chan struct{}) room.Reason {
				d.fill()
				packet(h, "given up")
				<-left
				return room.ReasonLeft
			},
		})
		d.auth.state = func(n int) (session.State, error) {
			if n > 3 {
				return session.Ended, nil
			}
			return session.Running, nil
		}
		if sealed := d.run(t.Context()); sealed.Reason != "session_ended" || d.room.count() != 1 {
			t.Errorf("sealed (%s) after %d joins", sealed.Reason, d.room.count())
		}
	})
}

// TestDisk_Stop: the service is stopped while reading waits for the disk. It does
// not wait; with the reserve the recording is sealed, without it stays open, and
// the next start continues with what is there.
func TestDisk_Stop(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		t.Run(fmt.Sprintf("reserve %v", reserve), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var d *disk
				var stopped time.Time
				d = newDisk(t,
					step{
						info: info("RM_1", ours),
						run: func(h room.Handler, left <-chan struct{}) room.Reason {
							packet(h, "a")
							d.fill()
							if !reserve {
								d.fail(syscall.ENOSPC) // not even with the reserve given back
							}
							time.AfterFunc(5*time.Second, func() { stopped = time.Now(); stop() })
							packet(h, "given up")
							<-left
							return room.ReasonLeft
						},
					},
					step{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "b")})
				err := recorder.New(d.rec, d.options()).Run(ctx)
				if took := time.Since(stopped); took > time.Second {
					t.Errorf("stopping took %v", took)
				}
				if reserve {
					if err != nil {
						t.Fatal(err)
					}
					if s, _ := d.rec.Sealed(); s.Reason != recorder.ReasonServiceStopped {
						t.Errorf("sealed (%s)", s.Reason)
					}
					want := []string{
						"recording_started", "joined RM_1", "packet a epoch 1",
						"outage_started disk_full", "recording_ended COMPLETE service_stopped",
					}
					if diff := cmp.Diff(want, d.story()); diff != "" {
						t.Errorf("the recording (-want +got):\n%s", diff)
					}
					return
				}
				if err == nil || d.rec.State() != spool.StateOpen {
					t.Fatalf("%v, the recording is %s", err, d.rec.State())
				}
				if err := d.spool.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				// The next process starts on a disk that is still full.
				d.spool = d.open(t)
				d.rec, _ = d.spool.Recording("DE_disk")
				time.AfterFunc(time.Minute, func() { d.works(); d.free() })
				d.run(t.Context())
				want := []string{
					"recording_started", "joined RM_1", "packet a epoch 1",
					"outage_started process_died", "joined RM_1", "outage_ended",
					"packet b epoch 2", "recording_ended COMPLETE room_deleted",
				}
				if diff := cmp.Diff(want, d.story()); diff != "" {
					t.Errorf("the recording (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestDisk_FullWhileJoining: what could not be written of a join is said at the
// next one, and no outage is begun twice or ended without a beginning.
func TestDisk_FullWhileJoining(t *testing.T) {
	for _, failing := range []string{"joined", "outage_ended", "participant_joined"} {
		t.Run(failing, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t,
					step{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")},
					step{info: info("RM_1", ours, "alice"), run: untilLeft()},
					step{
						info: info("RM_1", ours, "alice"),
						run:  send(room.ReasonRoomDeleted, "b"),
					},
				)
				hook := d.fault.Hook
				frames := 0
				d.fault.Hook = func(c durabletest.Call) (int, error) {
					if c.Label == "segment" && c.Name == "write" && d.room.count() == 2 {
						frames++
						first := map[string]int{
							"joined": 1, "outage_ended": 2,
							"participant_joined": 3,
						}[failing]
						if frames >= first && frames < 1000 {
							frames = 1000
							d.fail(syscall.EIO)
							time.AfterFunc(40*time.Second, d.works)
						}
					}
					return hook(c)
				}
				d.run(t.Context())
				open := false
				for _, line := range d.story() {
					switch line {
					case "outage_ended":
						if !open {
							t.Errorf("an outage ended that had not begun: %q", d.story())
						}
						open = false
					case "outage_started disk", "outage_started connection_lost",
						"outage_started slow_join":
						if open {
							t.Errorf("an outage began within one: %q", d.story())
						}
						open = true
					}
				}
				if open {
					t.Errorf("the outage did not end: %q", d.story())
				}
				if n := d.count("participant_joined alice"); n != 1 {
					t.Errorf("alice was told %d times: %q", n, d.story())
				}
			})
		})
	}
}

func (d *disk) count(line string) int {
	n := 0
	for _, l := range d.story() {
		if l == line {
			n++
		}
	}
	return n
}

// TestSomebodyComesAndGoesForHours: what a recorder remembers does not grow with
// those who have left.
func TestSomebodyComesAndGoesForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const times = 20_000
		var snapshot func() recorder.Snapshot
		w := newWorld(t, nil, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				for i := range times {
					p := room.Participant{SID: fmt.Sprintf("PA_%d", i), Identity: "eve"}
					h.Event(room.Event{Type: room.ParticipantJoined, Participant: p})
					h.Event(room.Event{Type: room.ParticipantLeft, Participant: p})
				}
				if got := snapshot().Participants; got != times {
					t.Errorf("%d participants counted, want %d", got, times)
				}
				return room.ReasonRoomDeleted
			},
		})
		r := recorder.New(w.rec, w.options())
		snapshot = r.Snapshot
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := recorder.PresentCount(r); n != 0 {
			t.Errorf("%d participants are remembered after all have left", n)
		}
	})
}
