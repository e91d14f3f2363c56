package render_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
)

// settable is a clock that is set while it is recorded.
type settable struct{ now spool.Reading }

func (c *settable) Read() spool.Reading      { return c.now }
func (c *settable) Suspended() time.Duration { return 0 }

// A recording during which the clock was set back ends, by that clock, before it began. The line
// and the manifest say why.
func TestClockStepIsStated(t *testing.T) {
	clock := &settable{spool.Reading{UnixNS: start, MonoNS: 1}}
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{Clock: clock})
	r.joined(1, "RM_1")
	r.say("alice", "PA_1", "", "before")
	clock.now = spool.Reading{UnixNS: start - 3600e9, MonoNS: 1 + 2e9}
	r.ns = clock.now.UnixNS
	r.say("alice", "PA_1", "", "after")
	rec := r.seal(textegress.StatusComplete, "room_deleted")
	m, s := build(t, render.FromSpool(rec))
	if !m.EndedAt.Before(m.StartedAt.Time) {
		t.Errorf("it began at %s and ended at %s", m.StartedAt, m.EndedAt)
	}
	want := []textegress.ClockStep{{
		Index: 4, OffsetNS: -3602e9, BeforeUnixNS: start,
		AfterUnixNS: start - 3600e9,
	}}
	if diff := cmp.Diff(want, m.Completeness.ClockSteps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var kinds []string
	for line := range strings.Lines(string(s.objects[textegress.EventsName])) {
		var msg textegress.Message
		if err := json.Unmarshal([]byte(line), &msg); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, string(msg.Kind))
		if msg.Kind == textegress.KindClockStep &&
			(msg.UnixNS != start-3600e9 || msg.Event.OffsetNS != -3602e9) {
			t.Errorf("%s", line)
		}
	}
	if diff := cmp.Diff([]string{
		"recording_started", "joined", "data", "clock_step", "data",
		"recording_ended",
	}, kinds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	derived, err := verify.Derive(t.Context(), render.FromSpool(rec), render.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify.Compare(m, derived); len(got) != 0 {
		t.Errorf("%q", got)
	}
	m.Completeness.ClockSteps = nil
	if got := verify.Compare(m, derived); len(got) != 1 ||
		!strings.Contains(got[0], "completeness.clock_steps") {
		t.Errorf("a step that is not stated: %q", got)
	}
}
