package spool

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// fakeClock is a clock that can be set.
type fakeClock struct {
	Reading

	asleep time.Duration
	torn   time.Duration // of the next reading alone
}

func newFakeClock() *fakeClock {
	return &fakeClock{Reading: Reading{UnixNS: 1_000_000e9, MonoNS: 77e9}}
}

func (c *fakeClock) Read() Reading {
	r := c.Reading
	r.MonoNS += int64(c.torn)
	c.torn = 0
	return r
}

func (c *fakeClock) Suspended() time.Duration { return c.asleep }

// passes lets time pass, set sets the time of day.
func (c *fakeClock) passes(d time.Duration) { c.UnixNS += int64(d); c.MonoNS += int64(d) }
func (c *fakeClock) set(d time.Duration)    { c.UnixNS += int64(d) }

func (c *fakeClock) suspend(d time.Duration) { c.UnixNS += int64(d); c.asleep += d }

// story tells what is recorded: payloads, and steps as "by, from, to" in seconds since the
// beginning.
func story(t *testing.T, r *Recording) []string {
	t.Helper()
	frames, _ := split(t, collect(t, r.Frames()))
	var out []string
	for i, f := range frames {
		if f.Index != uint64(i+1) {
			t.Errorf("frame %d has index %d", i+1, f.Index)
		}
		if f.Type != segment.FrameEvent {
			out = append(out, string(f.Payload))
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind != textegress.KindClockStep {
			out = append(out, string(ev.Kind))
			continue
		}
		if f.UnixNS != ev.AfterUnixNS || f.Epoch != 3 {
			t.Errorf("the event is of %d, epoch %d; the step was to %d", f.UnixNS, f.Epoch,
				ev.AfterUnixNS)
		}
		out = append(out, fmt.Sprintf("step by %g, %g, %g", float64(ev.OffsetNS)/1e9,
			float64(ev.BeforeUnixNS-1_000_000e9)/1e9, float64(ev.AfterUnixNS-1_000_000e9)/1e9))
	}
	return out
}

// Where the time of day was set between two frames, an event before the second one says so: once,
// and neither of a suspended machine nor of a process that was interrupted while it read the
// clocks.
func TestClockSteps(t *testing.T) {
	const s = time.Second
	for name, tt := range map[string]struct {
		between []func(c *fakeClock) // what happens after each frame
		want    []string
	}{
		"nothing": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.passes(2 * s) },
				func(c *fakeClock) { c.passes(3 * time.Hour) },
			},
			[]string{"0", "1", "2"},
		},
		"back by an hour": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.passes(s); c.set(-time.Hour); c.passes(s) },
				func(c *fakeClock) { c.passes(s) },
			},
			[]string{"0", "step by -3600, 0, -3598", "1", "2"},
		},
		"forward, before there is a frame": {
			nil, []string{"step by 60, 0, 61", "0"},
		},
		"forward and back": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.set(5 * s) },
				func(c *fakeClock) { c.passes(s); c.set(-5 * s) },
			},
			[]string{"0", "step by 5, 0, 5", "1", "step by -5, 5, 1", "2"},
		},
		"by no more than a tenth of a second": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.set(100 * time.Millisecond) },
				func(c *fakeClock) { c.set(-200 * time.Millisecond) },
			},
			[]string{"0", "1", "2"},
		},
		"little by little": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.set(60 * time.Millisecond) },
				func(c *fakeClock) { c.set(60 * time.Millisecond) },
				func(c *fakeClock) { c.set(60 * time.Millisecond) },
			},
			[]string{"0", "1", "step by 0.12, 0.06, 0.12", "2", "3"},
		},
		"suspended": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.suspend(time.Hour) },
				func(c *fakeClock) { c.passes(s) }, func(c *fakeClock) { c.set(s) },
			},
			[]string{"0", "1", "2", "step by 1, 3601, 3602", "3"},
		},
		"suspended, and set meanwhile": {
			[]func(c *fakeClock){func(c *fakeClock) { c.suspend(time.Hour); c.set(-2 * s) }},
			[]string{"0", "step by -2, 0, 3598", "1"},
		},
		"interrupted between the two clocks": {
			[]func(c *fakeClock){
				func(c *fakeClock) { c.torn = s },
				func(c *fakeClock) { c.torn = -s },
			},
			[]string{"0", "1", "2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, o := memory()
			clock := newFakeClock()
			o.Clock = clock
			r, w := newRecording(t, openSpool(t, "/data", o))
			if tt.between == nil {
				clock.passes(s)
				clock.set(time.Minute)
			}
			for i := range len(tt.between) + 1 {
				if err := w.Append(segment.Frame{
					Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 3,
					Payload: fmt.Append(nil, i),
				}); err != nil {
					t.Fatal(err)
				}
				if i < len(tt.between) {
					tt.between[i](clock)
				}
			}
			if d := cmp.Diff(tt.want, story(t, r)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if n := w.Recorded(); n != uint64(len(tt.want)) {
				t.Errorf("%d frames count as recorded, want %d", n, len(tt.want))
			}
		})
	}
}

// The last frame of a recording states a step after the one before it; a later process does not
// compare.
func TestClockSteps_AtTheEndAndLater(t *testing.T) {
	_, o := memory()
	clock := newFakeClock()
	o.Clock = clock
	r, w := newRecording(t, openSpool(t, "/data", o))
	if err := w.Append(segment.Frame{
		Type: segment.FramePacket, Epoch: 3,
		Payload: []byte("0"),
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Reading = Reading{UnixNS: clock.UnixNS - 5e9, MonoNS: 3} // of another process
	w = openWriter(t, r)
	appendText(t, w, "1")
	clock.set(-time.Minute)
	if err := w.AppendReserved(segment.Frame{
		Type: segment.FrameEvent, Epoch: 3,
		Payload: []byte(`{"kind":"recording_ended"}`),
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0", "1", "step by -60, -5, -65", "recording_ended"},
		story(t, r)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A step that cannot be written is not forgotten: the frame after it is refused, too.
func TestClockSteps_DiskFull(t *testing.T) {
	mem, o := memory()
	clock := newFakeClock()
	full := false
	o.Clock = clock
	o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
		if full && c.Label == "segment" && c.Name == "write" {
			return 20, syscall.ENOSPC
		}
		return 0, nil
	}}
	r, w := newRecording(t, openSpool(t, "/data", o))
	f := segment.Frame{Type: segment.FramePacket, Epoch: 3, Payload: []byte("0")}
	if err := w.Append(f); err != nil {
		t.Fatal(err)
	}
	clock.set(-time.Hour)
	full = true
	if err := w.Append(f); !diskguard.IsFull(err) {
		t.Fatalf("%v, want a full disk", err)
	}
	full = false
	clock.passes(time.Second)
	f.Payload = []byte("1")
	if err := w.Append(f); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0", "step by -3600, 0, -3599", "1"}, story(t, r)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The clocks of the system, in which nobody sets the time.
func TestSystemClock(t *testing.T) {
	var c systemClock
	s := newSteps(c)
	before := c.Read()
	after := c.Read()
	if s.parted(after) || after.MonoNS < before.MonoNS ||
		time.Since(time.Unix(0, after.UnixNS)) < 0 {
		t.Errorf("%+v, then %+v", before, after)
	}
	if c.Suspended() < 0 {
		t.Errorf("suspended for %s", c.Suspended())
	}
}
