package poll

import (
	"context"
	"errors"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

// verdict is what the source reports to the handler about a session.
type verdict int

const (
	nothing   verdict = iota // nobody is in the room yet
	announced                // record it
	withdrawn                // the room's creator does not want it recorded
)

// room is one run of a room in the list. At most one task at a time reports it to the handler. The
// fields are guarded by the source's mu.
type room struct {
	session session.Session
	want    verdict
	have    verdict       // what the handler has accepted
	busy    bool          // a task runs
	gone    bool          // the run has left the list
	changed chan struct{} // want or gone has changed; capacity 1

	found       time.Time
	unannounced bool // by webhooks, so far; owned by the goroutine of Run
}

// compare compares a list with the previous one, and starts a task for each room whose verdict has
// changed.
func (s *Source) compare(ctx context.Context, h session.Handler, sessions []session.Session,
	optedOut []string,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := make(map[string]bool, len(sessions)+len(optedOut))
	newRooms := s.webhooks.newRooms(s.o.Webhooks, s.o.Interval)
	update := func(x session.Session, want verdict) {
		listed[x.ID] = true
		r := s.rooms[x.ID]
		if r == nil {
			r = &room{changed: make(chan struct{}, 1), found: time.Now()}
			s.rooms[x.ID] = r
			r.unannounced = !s.first && s.o.Webhooks != nil
		}
		r.session = x
		newRooms.check(x.ID, r)
		// A room that was announced stays announced while it is empty.
		if want != nothing && want != r.want {
			r.want = want
			r.notify()
		}
		if r.want != r.have && !r.busy {
			r.busy = true
			s.tasks.Go(func() { s.report(ctx, h, r) })
		}
	}
	for _, x := range sessions {
		want := announced
		// A room that has long been empty is announced only when a participant joins: a server that
		// crashed may list it for ever.
		if x.State == session.Empty {
			want = nothing
		}
		update(x, want)
	}
	for _, id := range optedOut {
		update(session.Session{ID: id}, withdrawn)
	}
	for id, r := range s.rooms {
		if !listed[id] {
			r.gone = true
			r.notify()
			delete(s.rooms, id)
		}
	}
	s.logReliance(newRooms.update())
}

// notify wakes the task of the room. The source's mu is held.
func (r *room) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// report is the task of a room. It reports the room's verdict to the handler, and retries until the
// handler accepts it.
func (s *Source) report(ctx context.Context, h session.Handler, r *room) {
	pauses := backoff.New(announcePauses)
	for {
		s.mu.Lock()
		select {
		case <-r.changed:
		default:
		}
		want, x := r.want, r.session
		if r.gone || want == r.have || ctx.Err() != nil {
			r.busy = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := s.call(ctx, h, want, x, pauses.Failures() > 0)
		if err == nil {
			s.mu.Lock()
			r.have = want
			s.mu.Unlock()
			pauses.Reset()
			continue
		}
		if ctx.Err() != nil {
			continue
		}
		pause := pauses.Next()
		if errors.Is(err, session.ErrLater) {
			pause = s.o.Interval
		} else if pauses.Failures() == 1 {
			s.log.Warn("a room that was found is not recorded yet; trying again", "session_id",
				x.ID, "error", err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-r.changed:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// call calls the handler when a slot is free.
func (s *Source) call(ctx context.Context, h session.Handler, v verdict, x session.Session,
	again bool,
) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.slots }()
	if v == withdrawn {
		return h.Withdraw(ctx, x.ID)
	}
	return h.Announce(ctx, session.Announcement{
		SessionID: x.ID, Room: x.Room, Source: SourceName, ReceivedAt: time.Now(),
		Redelivered: again, Limits: x.Limits,
	})
}
