package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/test/stack"
)

// Scenarios are all that there are.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "kill", Run: killAtRandom},
		{Name: "states", Run: killBetweenStates},
		{Name: "freeze-12s", Run: frozenFor(12 * time.Second), Check: nothingMissed},
		{Name: "freeze-25s", Run: frozenFor(25 * time.Second), Check: outageStated},
		{Name: "burst", Run: burstThenDelete},
		{Name: "twins", Twins: true, Run: twins, Check: nothingMissed2},
		diskFull(),
		{Name: "livekit", Alone: true, Run: liveKitDies},
		{Name: "broker", Alone: true, Run: brokerDies},
		{Name: "s3", Run: storeDies},
		{Name: "syncflow", Alone: true, Run: apiDies},
		{Name: "network", Alone: true, Run: badNetwork},
		pooled(1), pooled(2), pooled(3), pooled(4), pooled(5), pooled(6),
		{Name: "pool-full", Alone: true, Run: fifth},
		{Name: "everything", Alone: true, LongOnly: true, Run: everything},
	}
}

// pick returns short in a test and long in `make torture`.
func pick[T any](w *World, short, long T) T {
	if w.rig.Long {
		return long
	}
	return short
}

// between returns a random time.
func (w *World) between(a, b time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

func (w *World) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

// classes holds sessions, each a while, in lanes at the same time, until do returns. The senders of
// every other session begin before the recorder is in the room.
func (w *World) classes(ctx context.Context, lanes int, shortest, longest time.Duration,
	do func() error,
) error {
	over := make(chan struct{})
	var wg sync.WaitGroup
	errs := make([]error, lanes)
	for i := range lanes {
		wg.Go(func() { errs[i] = w.lane(ctx, i, shortest, longest, over) })
	}
	err := do()
	close(over)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

func (w *World) lane(ctx context.Context, lane int, shortest, longest time.Duration,
	over <-chan struct{},
) error {
	for n := lane; ; n++ {
		s, err := w.begin(ctx, n%2 == 1)
		if err != nil {
			return err
		}
		last := false
		select {
		case <-time.After(w.between(shortest, longest)):
		case <-over:
			last = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.end(ctx); err != nil || last {
			return err
		}
	}
}

// killAtRandom kills the recorder at random moments under traffic; now and then while it starts,
// and now and then it is stopped in order instead, so that the session goes on in a next part.
func killAtRandom(ctx context.Context, w *World) error {
	v := w.victims[0]
	return w.classes(ctx, pick(w, 2, 3), 5*time.Second, pick(w, 8*time.Second, 30*time.Second),
		func() error {
			for i := range pick(w, 5, 25) {
				if err := sleep(ctx, w.between(200*time.Millisecond,
					pick(w, 1500*time.Millisecond, 4*time.Second))); err != nil {
					return err
				}
				if i%9 == 8 {
					w.rig.fault("recorder stopped (SIGTERM)")
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
					if err := sleep(ctx, w.between(0, 400*time.Millisecond)); err != nil {
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

// killBetweenStates walks sessions through their states and kills the recorder at each: when
// inotify tells that a state file is begun or has got its name, that a segment is begun, that
// derived objects appear, that segments are removed. Another session goes on meanwhile.
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
		if err := w.victims[0].Until(ctx, "the other session is recorded", begun); err != nil {
			return err
		}
		for i := range pick(w, 1, 3) {
			// The first walk kills at the very moment, the others a little later: what comes right
			// after it is then perhaps done.
			if err := w.walk(ctx, time.Duration(i)*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *World) walk(ctx context.Context, latest time.Duration) error {
	v := w.victims[0]
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
		w.rig.logf("  killed: %s", points[hit].name)
		next = hit + 1
	}
	return v.start()
}

// provoke makes a recording come to the next point, and returns the point at which the recorder was
// killed.
func (w *World) provoke(ctx context.Context, t *trap, s **session, next int) (int, error) {
	v := w.victims[0]
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
	return t.sprung(ctx, time.Minute)
}

// frozenFor stops the process under traffic and lets it go on.
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
		if err := w.victims[0].freeze(ctx, d); err != nil {
			return err
		}
		thawed := time.Now()
		defer func() {
			w.rig.logf("  %.1f s after it went on the senders were heard again",
				time.Since(thawed).Seconds())
		}()
		if d > 20*time.Second { // LiveKit has given us up, which the recorder is about to notice
			noticed := func(st stack.RecorderStatus) bool {
				n := 0
				for _, r := range st.Recordings {
					if r.Connected && r.Outages > 0 {
						n++
					}
				}
				return n == len(all)
			}
			if err := w.victims[0].Until(ctx, "the outage is noticed and over",
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

// burstThenDelete ends sessions in the middle of a burst. What LiveKit still held is gone, and no
// record may claim it.
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

// twins kills one of two recorders, then the other, never both: what one misses the other has
// heard.
func twins(ctx context.Context, w *World) error {
	var all []*session
	for range pick(w, 1, 2) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	// An outage begins at the last frame before it: both must have heard something before the first
	// of them dies, or the time until the second one has joined is an outage of both.
	for _, v := range w.victims {
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
		if err := sleep(ctx, w.between(300*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		v := w.victims[i%2]
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

// nothingMissed2 is about both recorders together; each alone has outages.
func nothingMissed2(_ *World, v Verdict, outages []int) error {
	if v.Stated > 0 || slices.Min(outages) == 0 {
		return fmt.Errorf("together: %s, outages %v; want nothing missing, and an outage of each",
			v, outages)
	}
	return nil
}

// liveKitDies kills LiveKit in mid-session; the senders come back with it.
func liveKitDies(ctx context.Context, w *World) error {
	lk := w.rig.Stack.LiveKit
	var all []*session
	for range 2 {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	for i := range pick(w, 1, 4) {
		if err := all[0].advance(ctx, 15); err != nil {
			return err
		}
		w.rig.fault("LiveKit killed and restarted")
		if err := lk.Kill(); err != nil {
			return err
		}
		if i%2 == 1 {
			w.victims[0].kill()
		}
		if err := errors.Join(sleep(ctx, w.between(0, 1500*time.Millisecond)), lk.Start(ctx),
			w.victims[0].start()); err != nil {
			return err
		}
		for _, s := range all {
			if err := errors.Join(s.advance(ctx, 5), s.inRoom(ctx), s.advance(ctx, 5)); err != nil {
				return err
			}
		}
	}
	return nil
}

// brokerDies kills RabbitMQ in mid-session, with and without the recorder. The next session is
// heard when SyncFlow has declared its exchange again.
func brokerDies(ctx context.Context, w *World) error {
	mq := w.rig.Stack.RabbitMQ
	for i := range pick(w, 1, 2) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		w.rig.fault("RabbitMQ killed and restarted")
		if err := mq.Kill(); err != nil {
			return err
		}
		if err := s.advance(ctx, 5); err != nil {
			return err
		}
		if i%2 == 0 {
			w.victims[0].kill()
		}
		if err := errors.Join(w.victims[0].start(), mq.Start(ctx),
			w.rig.Stack.SyncFlow.Redeclare(ctx)); err != nil {
			return err
		}
		ready := func(st stack.RecorderStatus) bool { return st.Ready }
		if err := w.victims[0].Until(ctx, "the broker is found again", ready); err != nil {
			return err
		}
		next, err := w.begin(ctx, true)
		if err != nil {
			return err
		}
		if err := errors.Join(s.advance(ctx, 5), next.advance(ctx, 10)); err != nil {
			return err
		}
	}
	return nil
}

// storeDies kills the S3 server in the middle of an upload, and the recorder meanwhile.
func storeDies(ctx context.Context, w *World) error {
	st, v := w.rig.Stack, w.victims[0]
	for i := range pick(w, 1, 4) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		if err := s.advance(ctx, 15); err != nil {
			return err
		}
		// A slow network, so that there is a middle.
		if err := st.Proxies.S3.Add(stack.Toxic{
			Type:       "latency",
			Attributes: map[string]int64{"latency": 40, "jitter": 20},
		}); err != nil {
			return err
		}
		after := w.between(0, 400*time.Millisecond)
		t, err := setTrap(v.data, nil, slices.IndexFunc(points,
			func(p point) bool { return p.name == "export.json there" }), func() {
			spin(after)
			_ = st.S3.Kill() // it is started below, or that fails
		})
		if err != nil {
			return err
		}
		defer t.close()
		w.rig.fault("S3 server killed during an upload, and restarted")
		if err := s.end(ctx); err != nil {
			return err
		}
		if _, err := t.sprung(ctx, time.Minute); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := v.killFor(ctx, 0); err != nil {
				return err
			}
		}
		if err := errors.Join(sleep(ctx, w.between(0, 2*time.Second)), st.S3.Start(ctx),
			st.Proxies.S3.Clear()); err != nil {
			return err
		}
	}
	return nil
}

// apiDies kills the SyncFlow API, and has it fail, stall and hang up, while sessions run and end.
func apiDies(ctx context.Context, w *World) error {
	sf, v := w.rig.Stack.SyncFlow, w.victims[0]
	s, err := w.begin(ctx, false)
	if err != nil {
		return err
	}
	w.rig.fault("SyncFlow killed and restarted")
	if err := sf.Kill(); err != nil {
		return err
	}
	// It cannot rejoin without a token: an outage, and nothing worse.
	if err := errors.Join(v.killFor(ctx, 0), s.advance(ctx, 15), sf.Start(ctx), s.inRoom(ctx),
		s.advance(ctx, 5)); err != nil {
		return err
	}
	for _, f := range []stack.Fault{
		{Status: 500},
		{Drop: true},
		{StallMS: 1500, Status: 503},
		{After: true, Status: 502},
	}[:pick(w, 1, 4)] {
		x, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		if err := x.advance(ctx, 10); err != nil {
			return err
		}
		w.rig.fault(fmt.Sprintf("SyncFlow fails: %+v", f))
		f.Times = 1000
		if err := sf.Control(ctx,
			stack.Settings{Fail: map[string]stack.Fault{"projects": f}}); err != nil {
			return err
		}
		if err := errors.Join(v.killFor(ctx, 0), x.advance(ctx, 10), sf.ResetControl(ctx),
			x.inRoom(ctx), s.inRoom(ctx), x.end(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// toxics are what a bad network does to a connection.
var toxics = []stack.Toxic{
	{Type: "latency", Attributes: map[string]int64{"latency": 300, "jitter": 200}},
	{Type: "reset_peer", Attributes: map[string]int64{"timeout": 100}},
	{Type: "timeout", Attributes: map[string]int64{"timeout": 0}}, // swallows everything
	{Type: "slow_close", Attributes: map[string]int64{"delay": 1000}},
	{Type: "bandwidth", Attributes: map[string]int64{"rate": 3}},
	{Type: "limit_data", Attributes: map[string]int64{"bytes": 700}}, // hangs up in the middle
}

// badNetwork disturbs the connections to all servers, one kind after the other, while sessions
// begin, go on and end; now and then the recorder is killed in it.
func badNetwork(ctx context.Context, w *World) error {
	proxies := w.rig.Stack.Proxies.All()
	order := w.shuffled(len(toxics) * len(proxies))
	s, err := w.begin(ctx, false)
	if err != nil {
		return err
	}
	if !w.rig.Long { // the first one before each server
		seen := map[int]bool{}
		order = slices.DeleteFunc(order, func(k int) bool {
			again := seen[k%len(proxies)]
			seen[k%len(proxies)] = true
			return again
		})
	}
	for i, k := range order {
		p, t := proxies[k%len(proxies)], toxics[k/len(proxies)]
		t.Upstream = w.chance(0.5)
		w.rig.fault(fmt.Sprintf("network before %s: %s", p.Name, t))
		if err := p.Add(t); err != nil {
			return err
		}
		if i%3 == 0 {
			if err := w.victims[0].killFor(ctx, 0); err != nil {
				return err
			}
		}
		if err := sleep(ctx, w.between(500*time.Millisecond,
			pick(w, time.Second, 4*time.Second))); err != nil {
			return err
		}
		if p.Name == "S3" { // something to upload
			if err := s.end(ctx); err != nil {
				return err
			}
			if err := sleep(ctx, w.between(0, time.Second)); err != nil {
				return err
			}
		}
		if err := p.Clear(); err != nil {
			return err
		}
		if s.ended {
			if s, err = w.begin(ctx, w.chance(0.5)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *World) shuffled(n int) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Perm(n)
}

// everything does all of it at once: kills and whatever else comes, without waiting for anything to
// be right again.
func everything(ctx context.Context, w *World) error {
	st, v := w.rig.Stack, w.victims[0]
	restart := func(name string, kill func() error, start func(context.Context) error) error {
		w.rig.fault(name + " killed and restarted")
		return errors.Join(kill(), sleep(ctx, w.between(0, time.Second)), start(ctx))
	}
	return w.classes(ctx, 3, 10*time.Second, 30*time.Second, func() error {
		for range 20 {
			var err error
			switch k := w.between(0, 12); {
			case k < 5:
				err = v.killFor(ctx, w.between(0, time.Second))
			case k == 5:
				err = restart("LiveKit", st.LiveKit.Kill, st.LiveKit.Start)
			case k == 6:
				err = restart("S3 server", st.S3.Kill, st.S3.Start)
			case k == 7:
				err = restart("SyncFlow", st.SyncFlow.Kill, st.SyncFlow.Start)
			case k == 8:
				err = v.freeze(ctx, w.between(time.Second, 5*time.Second))
			default:
				all := st.Proxies.All()
				p, t := all[w.shuffled(len(all))[0]], toxics[w.shuffled(len(toxics))[0]]
				w.rig.fault(fmt.Sprintf("network before %s: %s", p.Name, t))
				err = errors.Join(p.Add(t), v.killFor(ctx, 0),
					sleep(ctx, w.between(time.Second, 3*time.Second)), p.Clear())
			}
			if err != nil {
				return err
			}
			if err := sleep(ctx, w.between(200*time.Millisecond, 2*time.Second)); err != nil {
				return err
			}
		}
		return nil
	})
}
