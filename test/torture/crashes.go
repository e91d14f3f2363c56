package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// killAtRandom kills the recorder at random moments under traffic, sometimes while it starts.
// Sometimes it stops the recorder in order instead, so that the session continues in a further
// part.
func killAtRandom(ctx context.Context, w *World) error {
	v := w.recorders[0]
	return w.classes(ctx, pick(w, 2, 3), 5*time.Second, pick(w, 8*time.Second, 30*time.Second),
		func() error {
			for i := range pick(w, 5, 25) {
				if err := backoff.Sleep(ctx, w.between(200*time.Millisecond,
					pick(w, 1500*time.Millisecond, 4*time.Second))); err != nil {
					return err
				}
				if i%9 == 8 {
					w.harness.fault("recorder stopped (SIGTERM)")
					if err := errors.Join(v.stop(ctx), v.start()); err != nil {
						return err
					}
					continue
				}
				pause := w.between(0, time.Second)
				if w.chance(0.5) {
					pause = 0
				}
				if err := v.killFor(ctx, pause); err != nil {
					return err
				}
				if w.chance(0.3) { // while it starts
					if err := backoff.Sleep(ctx, w.between(0, 400*time.Millisecond)); err != nil {
						return err
					}
					if err := v.killFor(ctx, 0); err != nil {
						return err
					}
				}
			}
			return nil
		})
}

// killBetweenStates takes sessions through their states and kills the recorder at each: when
// inotify reports that a state file is created or renamed to its final name, that a segment is
// created, that rendered objects appear, or that segments are removed. Another session runs
// meanwhile.
func killBetweenStates(ctx context.Context, w *World) error {
	return w.classes(ctx, 1, time.Hour, 2*time.Hour, func() error {
		begun := func(st stack.RecorderStatus) bool {
			for _, r := range st.Recordings {
				if r.Connected {
					return true
				}
			}
			return false
		}
		if err := w.recorders[0].Until(ctx, "the other session is recorded", begun); err != nil {
			return err
		}
		for i := range pick(w, 1, 3) {
			// The first walk kills at the crash point itself, the others slightly later, when the
			// next step may be done.
			if err := w.walk(ctx, time.Duration(i)*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *World) walk(ctx context.Context, latest time.Duration) error {
	v := w.recorders[0]
	others := map[string]bool{}
	entries, err := os.ReadDir(v.data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		others[e.Name()] = true
	}
	var s *session
	for next := 0; next < len(points); {
		after := time.Duration(0)
		if latest > 0 {
			after = w.between(0, latest)
		}
		if points[next].name == "export.json there" {
			after += w.between(0, 30*time.Millisecond) // into the upload
		}
		t, err := v.killAt(next, others, after)
		if err != nil {
			return err
		}
		hit, err := w.provoke(ctx, t, &s, next)
		t.close()
		if err != nil {
			return fmt.Errorf("waiting for the crash point %q: %w", points[next].name, err)
		}
		w.harness.logf("  killed: %s", points[hit].name)
		next = hit + 1
	}
	return v.start()
}

// provoke takes a recording to the next crash point, and returns the point at which the recorder
// was killed.
func (w *World) provoke(ctx context.Context, t *crashWatcher, s **session, next int) (int, error) {
	v := w.recorders[0]
	if err := v.start(); err != nil {
		return 0, err
	}
	switch {
	case *s == nil:
		if err := v.WaitReady(ctx); err != nil {
			return 0, err
		}
		var err error
		if *s, err = w.announce(ctx); err != nil {
			return 0, err
		}
	case next == firstSealing:
		if err := (*s).inRoom(ctx); err != nil {
			return 0, err
		}
		(*s).send(ctx)
		for _, x := range (*s).senders {
			x.setEarly()
		}
		if err := (*s).advance(ctx, 10); err != nil {
			return 0, err
		}
		if err := (*s).end(ctx); err != nil {
			return 0, err
		}
	}
	return t.wait(ctx, time.Minute)
}

// frozenFor freezes the process under traffic and resumes it.
func frozenFor(d time.Duration) func(context.Context, *World) error {
	return func(ctx context.Context, w *World) error {
		var all []*session
		for range 2 {
			s, err := w.begin(ctx, false)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		if err := all[1].advance(ctx, 10); err != nil {
			return err
		}
		if err := w.recorders[0].freeze(ctx, d); err != nil {
			return err
		}
		thawed := time.Now()
		defer func() {
			w.harness.logf("  %.1f s after it went on the senders were heard again",
				time.Since(thawed).Seconds())
		}()
		if d > 20*time.Second { // LiveKit has dropped the recorder, which will soon detect it
			noticed := func(st stack.RecorderStatus) bool {
				n := 0
				for _, r := range st.Recordings {
					if r.Connected && r.Outages > 0 {
						n++
					}
				}
				return n == len(all)
			}
			if err := w.recorders[0].Until(ctx, "the outage is noticed and over",
				noticed); err != nil {
				return err
			}
		}
		for _, s := range all {
			if err := errors.Join(s.inRoom(ctx), s.advance(ctx, 20)); err != nil {
				return err
			}
		}
		return nil
	}
}

func nothingMissed(_ *World, v Verdict, outages []int) error {
	if v.Stated > 0 || slices.Max(outages) > 0 {
		return fmt.Errorf("%s, outages %v; want nothing missing and no outage", v, outages)
	}
	return nil
}

func outageStated(_ *World, v Verdict, outages []int) error {
	if v.Stated == 0 || slices.Min(outages) == 0 {
		return fmt.Errorf("%s, outages %v; want an outage in each session, and something missing",
			v, outages)
	}
	return nil
}

// burstThenDelete ends sessions in the middle of a burst. Messages that LiveKit still held are
// lost, and no record may claim them.
func burstThenDelete(ctx context.Context, w *World) error {
	for range pick(w, 1, 3) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		if err := s.advance(ctx, 5); err != nil {
			return err
		}
		if err := s.burst(ctx, 3, 400); err != nil {
			return err
		}
	}
	return nil
}

// pair kills one of two recorders, then the other, never both: what one misses, the other receives.
func pair(ctx context.Context, w *World) error {
	var all []*session
	for range pick(w, 1, 2) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	// An outage starts at the last frame before it. Both recorders must receive something before
	// the first one is killed; otherwise the time until the second one has joined is an outage of
	// both.
	for _, v := range w.recorders {
		if err := v.Until(ctx, "it is in the rooms", v.in(all...)); err != nil {
			return err
		}
	}
	for _, s := range all {
		if err := s.advance(ctx, 5); err != nil {
			return err
		}
	}
	for i := range pick(w, 2, 8) {
		if err := backoff.Sleep(ctx, w.between(300*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		v := w.recorders[i%2]
		if err := v.killFor(ctx, w.between(0, time.Second)); err != nil {
			return err
		}
		if err := v.Until(ctx, "it is in the rooms again", v.in(all...)); err != nil {
			return err
		}
		for _, s := range all {
			if err := s.advance(ctx, 10); err != nil {
				return err
			}
		}
	}
	return nil
}

// nothingMissedByBoth checks both recorders together; each alone has outages.
func nothingMissedByBoth(_ *World, v Verdict, outages []int) error {
	if v.Stated > 0 || slices.Min(outages) == 0 {
		return fmt.Errorf("together: %s, outages %v; want nothing missing, and an outage of each",
			v, outages)
	}
	return nil
}
