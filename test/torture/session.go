package torture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// pupil is the prefix of every sender's identity, and part of nearly every payload.
const pupil = "pupil-"

// session is one session with its senders.
type session struct {
	stack.Session
	w       *World
	senders []*sender
	cancel  context.CancelFunc
	running sync.WaitGroup
	ended   bool
}

// begin creates and announces a session. The senders start when the recorders are in its room. With
// early, they start at once, and the recorder may miss messages sent before it joins.
func (w *World) begin(ctx context.Context, early bool) (*session, error) {
	s, err := w.announce(ctx)
	if err != nil {
		return nil, err
	}
	if !early {
		// If LiveKit loses a room before a participant joins, the room is not recognised as the
		// session's until one does.
		patience, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if s.inRoom(patience) == nil {
			s.send(ctx)
			return s, nil
		}
	}
	s.send(ctx)
	if err := s.inRoom(ctx); err != nil {
		return nil, err
	}
	for _, x := range s.senders {
		x.setEarly()
	}
	return s, nil
}

// announce creates and announces a session without senders.
func (w *World) announce(ctx context.Context) (*session, error) {
	var n int
	var x stack.Session
	var last error
	err := stack.Poll(ctx, func() bool {
		n = w.harness.number() // the result of a failed attempt is unknown
		x, last = w.harness.Stack.SyncFlow.CreateSession(ctx, w.project,
			fmt.Sprintf("%s %d", w.name, n), stack.DeviceGroup)
		return last == nil
	})
	if err != nil {
		return nil, fmt.Errorf("making a session: %w", errors.Join(err, last))
	}
	s := &session{Session: x, w: w}
	for i := range w.senders {
		id := fmt.Sprintf("%s%d-%d", pupil, n, i+1)
		s.senders = append(s.senders, newSender(w.harness.Stack.LiveKit, x.LivekitRoomName, id,
			w.harness.Seed+uint64(n*10+i), w.rate))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions = append(w.sessions, s)
	return s, nil
}

// number returns the next session number, so that no two sessions have the same name.
func (r *Harness) number() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session++
	return r.session
}

// send starts the senders.
func (s *session) send(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	for _, x := range s.senders {
		s.running.Go(func() { x.run(ctx) })
	}
}

// inRoom waits until all recorders are in the room.
func (s *session) inRoom(ctx context.Context) error {
	for _, v := range s.w.recorders {
		if err := v.Until(ctx, "the recorder is in the room of "+s.Name, v.in(s)); err != nil {
			return err
		}
	}
	return nil
}

// leave makes the senders leave cleanly: everything they sent has arrived at LiveKit, which had two
// seconds to forward it.
func (s *session) leave() error {
	for _, x := range s.senders {
		select {
		case <-x.stop:
		default:
			close(x.stop)
		}
	}
	s.running.Wait()
	var errs []error
	for _, x := range s.senders {
		errs = append(errs, x.err)
	}
	return errors.Join(errs...)
}

// end ends the session through SyncFlow, as a teacher does, with retries.
func (s *session) end(ctx context.Context) error {
	if err := s.leave(); err != nil {
		return err
	}
	return s.over(ctx)
}

// over ends the session without waiting for the senders.
func (s *session) over(ctx context.Context) error {
	var last error
	err := stack.Poll(ctx, func() bool {
		_, last = s.w.harness.Stack.SyncFlow.StopSession(ctx, s.w.project, s.ID)
		return last == nil || s.gone(ctx, last)
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", errors.Join(err, last))
	}
	s.ended = true
	return nil
}

// gone reports whether SyncFlow could not end the session because it has already ended, or because
// its room has, in which case the session stays Started forever.
func (s *session) gone(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*stack.APIError](err)
	if !ok {
		return false
	}
	if strings.Contains(e.Body, "not active") {
		return true
	}
	room, err := s.w.harness.Stack.LiveKit.Room(ctx, s.LivekitRoomName)
	return err == nil && room == nil
}

// burst makes further senders send as fast as possible, and deletes the room at the same time.
func (s *session) burst(ctx context.Context, senders, messages int) error {
	if err := s.leave(); err != nil {
		return err
	}
	var all []*sender
	var ready, done sync.WaitGroup
	errs := make([]error, senders)
	deleted := make(chan struct{})
	for i := range senders {
		id := fmt.Sprintf("%sburst-%s-%d", pupil, s.ID[:8], i+1)
		x := newSender(s.w.harness.Stack.LiveKit, s.LivekitRoomName, id, s.w.harness.Seed+uint64(i),
			s.w.rate)
		all = append(all, x)
		ready.Add(1)
		done.Go(func() {
			arrived := sync.OnceFunc(ready.Done)
			defer arrived()
			errs[i] = x.blast(ctx, messages, func() error {
				arrived()
				<-deleted
				return nil
			})
		})
	}
	s.senders = append(s.senders, all...)
	ready.Wait()
	s.w.harness.fault("room deleted at the end of a burst")
	err := s.w.harness.Stack.LiveKit.DeleteRoom(ctx, s.LivekitRoomName)
	close(deleted)
	done.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	return s.over(ctx)
}

// advance waits until each sender has sent n further messages.
func (s *session) advance(ctx context.Context, n int) error {
	goal := make([]int, len(s.senders))
	for i, x := range s.senders {
		goal[i] = x.l.Next() + n
	}
	return stack.Poll(ctx, func() bool {
		for i, x := range s.senders {
			if x.l.Next() < goal[i] {
				return false
			}
		}
		return true
	})
}

// records returns the recordings of the session by recorder, with their parts in order.
func (s *session) records(ctx context.Context) (map[string][]stack.Delivered, error) {
	for _, v := range s.w.recorders {
		if err := v.Until(ctx, fmt.Sprintf("everything of session %q is delivered", s.Name),
			s.delivered); err != nil {
			return nil, err
		}
	}
	all, err := s.w.harness.Stack.Delivered(s.w.project, s.ID)
	if err != nil {
		return nil, err
	}
	by := map[string][]stack.Delivered{}
	for _, d := range all {
		by[d.Manifest().Instance] = append(by[d.Manifest().Instance], d)
	}
	return by, nil
}

func (s *session) delivered(st stack.RecorderStatus) bool {
	n := 0
	for _, r := range st.Recordings {
		if r.SessionID != s.ID {
			continue
		}
		if r.State != "uploaded" && r.State != "removed" {
			return false
		}
		n++
	}
	return n > 0
}

// judge checks the parts of one recorder's record and accounts for every message.
func (s *session) judge(ctx context.Context, v *recorder, parts []stack.Delivered) (Verdict,
	[]textegress.Message, error,
) {
	var lines []textegress.Message
	var stated []Part
	var errs []error
	unproved := false
	for i, d := range parts {
		m := d.Manifest()
		if m.Part != i+1 || m.Revision != 1 ||
			(i > 0 && m.Previous != parts[i-1].Manifest().EgressID) {
			errs = append(errs, fmt.Errorf("recording %s: part %d after %q, revision %d; want "+
				"part %d of one chain, never revised", m.EgressID, m.Part, m.Previous, m.Revision,
				i+1))
		}
		if c := m.Completeness; c.CorruptRanges+c.FramesMissing+c.UndecodablePackets > 0 {
			errs = append(errs, fmt.Errorf("recording %s: %d corrupt ranges, %d frames missing, "+
				"%d undecodable packets", m.EgressID, c.CorruptRanges, c.FramesMissing,
				c.UndecodablePackets))
		}
		stdout, stderr, code, err := v.reads(ctx,
			func(int) []string { return []string{"verify", d.S3URL()} })
		if err != nil {
			return Verdict{}, nil, err
		}
		if code != 0 {
			errs = append(errs, fmt.Errorf("verify %s: exit code %d\n%s%s", d.S3URL(), code, stdout,
				stderr))
		}
		outages, first := 0, len(lines)
		for l, err := range d.Messages() {
			if err != nil {
				return Verdict{}, nil, fmt.Errorf("recording %s: %w", m.EgressID, err)
			}
			lines = append(lines, l)
			if l.Kind == textegress.KindOutageStarted {
				outages++
			}
		}
		if outages != len(m.Completeness.Outages) {
			errs = append(errs, fmt.Errorf("recording %s: the manifest states %d outages, the "+
				"transcript %d", m.EgressID, len(m.Completeness.Outages), outages))
		}
		stated = append(stated, Part{m.Completeness, lines[first:]})
		unproved = m.Completeness.Tail == textegress.TailUnproved
	}
	if len(parts) == 0 {
		errs = append(errs, errors.New("nothing was delivered"))
	}
	var sent []Sent
	for _, x := range s.senders {
		sent = append(sent, x.sent())
	}
	verdict := Judge(sent, lines, unproved)
	for _, w := range append(verdict.Wrong, Claims(sent, stated)...) {
		errs = append(errs, errors.New(w))
	}
	if err := errors.Join(errs...); err != nil {
		return verdict, lines, fmt.Errorf("session %q, recorded by %s: %w", s.Name, v.instance, err)
	}
	return verdict, lines, nil
}
