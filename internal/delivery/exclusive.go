package delivery

import (
	"context"
	"fmt"

	"github.com/syncflow/textegress/internal/spool"
)

// WithLock calls f while nothing else is done with the recording's delivery, also by Run. f may
// replace the recording: whatever this process knew of its delivery is forgotten.
func (u *Dispatcher) WithLock(ctx context.Context, egressID string, f func() error) error {
	u.mu.Lock()
	j := u.jobs[egressID]
	if j == nil {
		j = &job{busy: make(chan struct{}, 1)}
		if rec, ok := u.o.Spool.Recording(egressID); ok {
			j.rec = rec
			u.jobs[egressID] = j
		}
	}
	u.mu.Unlock()
	select {
	case j.busy <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() {
		j.gone = true
		u.mu.Lock()
		if u.jobs[egressID] == j {
			delete(u.jobs, egressID)
		}
		u.mu.Unlock()
		<-j.busy
	}()
	return f()
}

// Deliver delivers one sealed recording now, in one attempt, and returns nil when it is delivered
// and verified.
func (u *Dispatcher) Deliver(ctx context.Context, rec *spool.Recording) error {
	u.mu.Lock()
	j := u.jobs[rec.ID()]
	if j == nil || j.rec != rec {
		j = &job{rec: rec, busy: make(chan struct{}, 1)}
		u.jobs[rec.ID()] = j
	}
	u.mu.Unlock()
	if err := u.attempt(ctx, j); err != nil {
		return fmt.Errorf("deliver recording %s: %s", rec.ID(), errorText(err))
	}
	if isPending(rec) { // another attempt was given up for the replacement of the recording
		return fmt.Errorf("deliver recording %s: %w", rec.ID(), context.Canceled)
	}
	return nil
}
