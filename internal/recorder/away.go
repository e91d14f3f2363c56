package recorder

import (
	"fmt"
	"time"
)

// Patience is how long a recorder may be out of its room before its absence counts as a failure
// that needs operator action. A join takes a fraction of a second; LiveKit takes 15 s to drop a
// connection.
const Patience = 15 * time.Second

// away tracks how long a recorder has been out of the room that it should be in.
type away struct {
	since    time.Time   // zero: the recorder is in the room, or no longer needs one
	err      string      // error of the last attempt to join; "" before the first failure
	reporter *time.Timer // logs an absence longer than Patience
	reported bool
}

// beginAway records the start of an absence from the room, unless one has started already.
func (r *Recorder) beginAway() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away.since.IsZero() {
		return
	}
	r.away = away{since: time.Now(), reporter: time.AfterFunc(Patience, r.reportAway)}
	if !r.o.AwaySince.IsZero() { // an earlier recorder of this recording failed to join, too
		r.away.since, r.o.AwaySince = r.o.AwaySince, time.Time{}
	}
}

// endAway ends the absence: the recorder is in its room, or the recording has ended.
func (r *Recorder) endAway() {
	r.mu.Lock()
	was := r.away
	r.away = away{}
	r.mu.Unlock()
	if was.reporter != nil {
		was.reporter.Stop()
	}
	if was.reported {
		r.log.Info("no longer out of the room", "out_of_it_since", was.since)
	}
}

// noteJoinError records why the last attempt to join failed.
func (r *Recorder) noteJoinError(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away.since.IsZero() {
		r.away.err = why
	}
}

// stopAwayTimer is called when Run ends. A failed recorder counts as out of its room until the next
// recorder of the same recording has joined.
func (r *Recorder) stopAwayTimer() {
	r.mu.Lock()
	sealing := r.sealing
	r.mu.Unlock()
	if !sealing {
		r.beginAway()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away.reporter != nil {
		r.away.reporter.Stop()
	}
}

func (r *Recorder) reportAway() {
	r.mu.Lock()
	if r.away.since.IsZero() {
		r.mu.Unlock()
		return
	}
	r.away.reported = true
	a := r.away
	r.mu.Unlock()
	why := r.whyAway(a)
	r.log.Error("the session is not being recorded: the recorder is not in the room, and "+
		"keeps trying to join",
		"out_of_it_since", a.since, "error", why)
}

// whyAway returns the last error or, before the first, the likely cause.
func (r *Recorder) whyAway(a away) string {
	switch {
	case a.err != "":
		return a.err
	case r.o.Runs:
		return "the first attempt to join has not ended yet: LiveKit does not answer"
	}
	return fmt.Sprintf("the first attempt to join has not ended yet: %s or LiveKit does not "+
		"answer. %[1]s may give no token while several sessions run, and is not asked for one "+
		"where the project has LIVEKIT__API_KEY and LIVEKIT__API_SECRET", r.o.Platform)
}
