package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncflow/textegress/segment"
)

// Progress is how far a recording may be read while it is being written.
type Progress struct {
	State State
	// DurableUpTo is the index up to which every frame of an open recording is durable. It stays
	// where it is after a failed fsync, because numbers of later frames could be used again after a
	// power failure.
	DurableUpTo uint64
	// Replacing means that a rewrite is about to replace the recording: segments that are opened
	// from now on may be those of the replacement. Replaced means that it has.
	Replacing, Replaced bool
	// Removing means that segments are being removed or are gone.
	Removing bool
}

// Watch returns the progress and a channel that is closed when it has changed. Changes made by
// other processes are not seen.
func (r *Recording) Watch() (Progress, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	p := r.progress
	p.State = r.state
	p.Removing = p.Removing || r.state == StateRemoved
	return p, r.changed
}

// Replaced reports whether a rewrite has replaced the recording.
func (r *Recording) Replaced() bool { return r.replaced.Load() }

// notify wakes those who called Watch. Called with mu held.
func (r *Recording) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// update changes the progress.
func (r *Recording) update(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.progress
	if change(&r.progress); r.progress != before {
		r.replaced.Store(r.progress.Replaced)
		r.notify()
	}
}

// advance records that all frames up to an index are durable, unless an fsync has failed.
func (r *Recording) advance(upTo uint64) {
	r.update(func(p *Progress) {
		if !r.suspect {
			p.DurableUpTo = upTo
		}
	})
}

// Growing returns the segments of a recording that is being written, by this process or another,
// and whether it will receive no more frames: the list function of [segment.Follow].
func (r *Recording) Growing(ctx context.Context) (_ []segment.Source, complete bool, err error) {
	complete = r.State() != StateOpen
	if r.readOnly && !complete {
		f, err := r.spool.fs.Open("read-state", r.path(sealedName))
		switch {
		case err == nil:
			complete = true
			if err := f.Close(); err != nil {
				return nil, false, fmt.Errorf("recording %s: %w", r.ID(), err)
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, false, fmt.Errorf("recording %s: %w", r.ID(), err)
		}
	}
	sources, err := r.Sources(ctx)
	return sources, complete, err
}

// CheckFollow returns nil if the space that stays reserved for open recordings is free, so that
// decoded lines may be written to a file. Otherwise the error wraps [diskguard.ErrLow].
func (r *Recording) CheckFollow() error { return r.spool.disk.Room(0, "following") }
