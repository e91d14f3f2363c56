package spool

import (
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// Stop is the content of stop.json: the decision to end a recording. The decision outlives the
// process, so an open recording with this file is sealed without another join.
type Stop struct {
	Reason string `json:"reason"` // the reason to seal the recording with
	UnixNS int64  `json:"unix_ns"`
}

// damagedStop is the reason of an unreadable stop.json, which still ends the recording.
const damagedStop = "stopped"

// RequestStop stores s. The decision is durable when RequestStop returns nil. A recording has one
// decision: a later one with another reason replaces it. A sealed recording can also have a
// decision; it then applies to the rest of the session.
func (r *Recording) RequestStop(s Stop) error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), stopName, ErrReadOnly)
	}
	current := r
	if c, ok := r.spool.Recording(r.ID()); ok {
		current = c // Correct has replaced r
	}
	if before, ok := current.Stop(); ok && before.Reason == s.Reason {
		return nil
	}
	data, err := encodeState(s)
	if err != nil {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), stopName, err)
	}
	write := func() error {
		return durable.ReplaceFile(r.spool.fs, "stop", r.path(stopName), data)
	}
	if err := r.spool.disk.WithBallast(write); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	for _, rec := range []*Recording{r, current} {
		rec.mu.Lock()
		rec.stop = s
		rec.mu.Unlock()
	}
	return nil
}

// Stop returns the decision that RequestStop stored, and false if there is none.
func (r *Recording) Stop() (Stop, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop, r.stop.Reason != ""
}

// loadStop reads stop.json.
func (r *Recording) loadStop() error {
	b, err := r.spool.fs.ReadFile("load", r.path(stopName))
	if err != nil {
		return err
	}
	if textegress.DecodeJSON(b, &r.stop) != nil || r.stop.Reason == "" {
		r.spool.log.Error("damaged state file, the recording counts as stopped", "path",
			r.path(stopName))
		r.stop = Stop{Reason: damagedStop}
	}
	return nil
}
