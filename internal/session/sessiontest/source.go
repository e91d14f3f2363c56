// Package sessiontest provides a source of announcements for tests.
package sessiontest

import (
	"context"

	"github.com/syncflow/textegress/internal/session"
)

// Source implements [session.Source]: it is always connected, and passes on what a test announces.
type Source struct {
	// Login, if not nil, is called by Run before anything else.
	Login func(ctx context.Context)
	// Handler is the one that Run was called with. It is set before the first Resync.
	Handler session.Handler

	announcements chan announcement
	resyncs       chan resync
}

type announcement struct {
	session.Announcement

	answer chan error
}

type resync struct {
	gaps   []session.Gap
	answer chan error
}

// NewSource returns a source that is not running yet.
func NewSource() *Source {
	return &Source{announcements: make(chan announcement), resyncs: make(chan resync)}
}

// Announce announces a session, and returns what the handler answers. It waits until the source
// runs and the handler has answered.
func (s *Source) Announce(a session.Announcement) error {
	answer := make(chan error, 1)
	s.announcements <- announcement{a, answer}
	return <-answer
}

// Resync reports that announcements may have been lost, once the source runs. The channel yields
// what the handler answers.
func (s *Source) Resync(gaps ...session.Gap) <-chan error {
	answer := make(chan error, 1)
	s.resyncs <- resync{gaps, answer}
	return answer
}

// Run implements [session.Source]. It handles announcements one after the other, and each resync
// beside them.
func (s *Source) Run(ctx context.Context, h session.Handler) error {
	s.Handler = h
	if s.Login != nil {
		s.Login(ctx)
	}
	if err := h.Resync(ctx, nil); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-s.announcements:
			a.answer <- h.Announce(ctx, a.Announcement)
		case r := <-s.resyncs:
			go func() { r.answer <- h.Resync(ctx, r.gaps) }()
		}
	}
}

// State implements [session.Source].
func (s *Source) State() session.SourceState { return session.SourceState{Connected: true} }
