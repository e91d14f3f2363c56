package torture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// pooled runs sessions on a SyncFlow with the limits of the real one: five database connections,
// one for each running session. From four sessions on, a request for a session stalls it for half a
// minute; from five on, it does not respond at all until a session ends. With five or more
// sessions, the recorder has LiveKit's keys, without which it cannot join the fifth.
func pooled(sessions int) Scenario {
	return Scenario{
		Name: fmt.Sprintf("pool-%d", sessions), Alone: true, LongOnly: sessions != 4 &&
			sessions != 6, LiveKitKeys: sessions > 4,
		Run: func(ctx context.Context, w *World) error { return w.crowd(ctx, sessions) },
	}
}

// backWithin is how long the recorder may take to be in all rooms again. SyncFlow may stall once
// for half a minute, because of an ill-timed authentication request from RabbitMQ, but the recorder
// must not make it stall repeatedly.
const backWithin = 75 * time.Second

// part is a process that is killed or stopped, and restarted.
type part struct {
	name    string
	restart func(ctx context.Context) error
}

// scarce gives SyncFlow the limits of the real one, until the harness is healed.
func (w *World) scarce(ctx context.Context) error {
	w.senders = 1
	w.harness.limited = true
	return w.harness.Stack.SyncFlow.Limit(ctx, stack.SyncFlowLimits{})
}

// crowd runs n sessions while the recorder, LiveKit, the broker and SyncFlow itself are killed and
// stopped.
func (w *World) crowd(ctx context.Context, n int) error {
	st, v := w.harness.Stack, w.recorders[0]
	if err := w.scarce(ctx); err != nil {
		return err
	}
	api := part{"SyncFlow killed and restarted", func(ctx context.Context) error {
		return errors.Join(st.SyncFlow.Kill(), st.SyncFlow.Start(ctx))
	}}
	var all []*session
	for i := range n {
		if i == n-5 && i > 0 { // SyncFlow cannot create a sixth session itself
			if err := w.restart(ctx, api, all); err != nil {
				return err
			}
		}
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	parts := []part{
		{"recorder killed", func(ctx context.Context) error { return v.killFor(ctx, 0) }},
		{
			"recorder stopped (SIGTERM)",
			func(ctx context.Context) error { return errors.Join(v.stop(ctx), v.start()) },
		},
		{"RabbitMQ killed and restarted", func(ctx context.Context) error {
			return errors.Join(st.RabbitMQ.Kill(), st.RabbitMQ.Start(ctx))
		}},
		{"LiveKit killed and restarted", func(ctx context.Context) error {
			return errors.Join(st.LiveKit.Kill(), backoff.Sleep(ctx, w.between(0, time.Second)),
				st.LiveKit.Start(ctx))
		}},
	}
	order := []int{0, 1}
	if w.harness.Long {
		order = append(w.shuffled(len(parts)), w.shuffled(2)...)
	}
	for _, i := range order {
		if err := w.restart(ctx, parts[i], all); err != nil {
			return err
		}
	}
	// SyncFlow cannot end a session while it does not respond, but the room can end.
	if err := all[0].closeRoom(ctx); err != nil {
		return err
	}
	all = all[1:]
	if err := w.restart(ctx, api, all); err != nil {
		return err
	}
	s, err := w.begin(ctx, false)
	if err != nil {
		return err
	}
	all = append(all, s)
	if !w.harness.Long {
		return nil
	}
	stopped := part{"SyncFlow stopped (SIGTERM) and restarted", func(ctx context.Context) error {
		return errors.Join(st.SyncFlow.Stop(ctx), st.SyncFlow.Start(ctx))
	}}
	if err := w.restart(ctx, stopped, all); err != nil {
		return err
	}
	return w.announcedToNobody(ctx, api)
}

// restart restarts a part and waits until the recorder receives messages from all sessions; the
// senders keep sending.
func (w *World) restart(ctx context.Context, p part, all []*session) error {
	w.harness.fault(fmt.Sprintf("%s, %d sessions", p.name, len(all)))
	began := time.Now()
	if err := p.restart(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	back, cancel := context.WithTimeout(ctx, backWithin)
	defer cancel()
	var before stack.RecorderStatus
	err := w.recorders[0].Until(back, "the recorder answers", func(st stack.RecorderStatus) bool {
		before = st
		return true
	})
	for _, s := range all {
		err = errors.Join(err, s.advance(back, 1))
	}
	if err == nil {
		err = w.recorders[0].Until(back, "the recorder hears all sessions", heard(before, all))
	}
	if err != nil {
		return fmt.Errorf("%s, %d sessions: %w", p.name, len(all), err)
	}
	w.harness.logf("    all sessions are heard after %.1f s", time.Since(began).Seconds())
	for _, s := range all {
		if err := s.advance(ctx, 5); err != nil {
			return err
		}
	}
	return nil
}

// heard reports whether the recorder is in all rooms and has received packets from each since the
// status before.
func heard(before stack.RecorderStatus, all []*session) func(stack.RecorderStatus) bool {
	return func(st stack.RecorderStatus) bool {
		for _, s := range all {
			part, packets, _ := lastPart(before, s)
			newer, more, connected := lastPart(st, s)
			if !connected || newer < part || newer == part && more <= packets {
				return false
			}
		}
		return true
	}
}

func lastPart(st stack.RecorderStatus, s *session) (part int, packets uint64, connected bool) {
	for _, r := range st.Recordings {
		if r.SessionID == s.ID && r.Part > part {
			part, packets, connected = r.Part, r.Packets, r.Connected
		}
	}
	return part, packets, connected
}

// fifth runs a fifth session while SyncFlow does not respond, without LiveKit's keys. The recorder
// reports that it is not in the session's room, and joins when another session has ended.
func fifth(ctx context.Context, w *World) error {
	if err := w.scarce(ctx); err != nil {
		return err
	}
	var all []*session
	for range 4 {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	late, err := w.announce(ctx)
	if err != nil {
		return err
	}
	late.send(ctx)
	unready := func(st stack.RecorderStatus) bool { return !st.Ready }
	if err := w.recorders[0].Until(ctx, "the recorder says that it is not in the fifth room",
		unready); err != nil {
		return err
	}
	if err := all[0].closeRoom(ctx); err != nil {
		return err
	}
	if err := late.inRoom(ctx); err != nil {
		return err
	}
	for _, x := range late.senders {
		x.setEarly()
	}
	return late.advance(ctx, 10)
}

// announcedToNobody creates a session before the recorder can bind its queue again.
func (w *World) announcedToNobody(ctx context.Context, api part) error {
	mq := w.harness.Stack.RabbitMQ
	w.harness.fault("RabbitMQ and SyncFlow killed and restarted, and a session made at once")
	if err := errors.Join(mq.Kill(), mq.Start(ctx), api.restart(ctx)); err != nil {
		return err
	}
	s, err := w.begin(ctx, true)
	if err != nil {
		return err
	}
	return errors.Join(s.advance(ctx, 10), s.end(ctx))
}

// closeRoom ends a session by deleting its room, without a request to SyncFlow. If SyncFlow's
// listener has left, SyncFlow does not detect it.
func (s *session) closeRoom(ctx context.Context) error {
	if err := s.leave(); err != nil {
		return err
	}
	s.w.harness.fault("room deleted")
	s.ended = true
	return s.w.harness.Stack.LiveKit.DeleteRoom(ctx, s.LivekitRoomName)
}
