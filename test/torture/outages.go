package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// liveKitDies kills LiveKit during a session; the senders rejoin when it restarts.
func liveKitDies(ctx context.Context, w *World) error {
	lk := w.harness.Stack.LiveKit
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
		w.harness.fault("LiveKit killed and restarted")
		if err := lk.Kill(); err != nil {
			return err
		}
		if i%2 == 1 {
			w.recorders[0].kill()
		}
		if err := errors.Join(
			backoff.Sleep(ctx, w.between(0, 1500*time.Millisecond)), lk.Start(ctx),
			w.recorders[0].start()); err != nil {
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

// brokerDies kills RabbitMQ during a session, with and without the recorder. The next session's
// announcement arrives once SyncFlow has declared its exchange again.
func brokerDies(ctx context.Context, w *World) error {
	mq := w.harness.Stack.RabbitMQ
	for i := range pick(w, 1, 2) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		w.harness.fault("RabbitMQ killed and restarted")
		if err := mq.Kill(); err != nil {
			return err
		}
		if err := s.advance(ctx, 5); err != nil {
			return err
		}
		if i%2 == 0 {
			w.recorders[0].kill()
		}
		if err := errors.Join(w.recorders[0].start(), mq.Start(ctx),
			w.harness.Stack.SyncFlow.Redeclare(ctx)); err != nil {
			return err
		}
		ready := func(st stack.RecorderStatus) bool { return st.Ready }
		if err := w.recorders[0].Until(ctx, "the broker is found again", ready); err != nil {
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
	st, v := w.harness.Stack, w.recorders[0]
	for i := range pick(w, 1, 4) {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		if err := s.advance(ctx, 15); err != nil {
			return err
		}
		// A slow network prolongs the upload.
		if err := st.Proxies.S3.Add(stack.Toxic{
			Type:       "latency",
			Attributes: map[string]int64{"latency": 40, "jitter": 20},
		}); err != nil {
			return err
		}
		after := w.between(0, 400*time.Millisecond)
		t, err := watchCrashPoints(v.data, nil, slices.IndexFunc(points,
			func(p point) bool { return p.name == "export.json there" }), func() {
			spin(after)
			_ = st.S3.Kill() // the start below fails if this failed
		})
		if err != nil {
			return err
		}
		defer t.close()
		w.harness.fault("S3 server killed during an upload, and restarted")
		if err := s.end(ctx); err != nil {
			return err
		}
		if _, err := t.wait(ctx, time.Minute); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := v.killFor(ctx, 0); err != nil {
				return err
			}
		}
		if err := errors.Join(backoff.Sleep(ctx, w.between(0, 2*time.Second)), st.S3.Start(ctx),
			st.Proxies.S3.Clear()); err != nil {
			return err
		}
	}
	return nil
}

// apiDies kills the SyncFlow API, and makes it fail, stall and close connections, while sessions
// run and end.
func apiDies(ctx context.Context, w *World) error {
	sf, v := w.harness.Stack.SyncFlow, w.recorders[0]
	s, err := w.begin(ctx, false)
	if err != nil {
		return err
	}
	w.harness.fault("SyncFlow killed and restarted")
	if err := sf.Kill(); err != nil {
		return err
	}
	// The recorder cannot rejoin without a token: an outage, and nothing worse.
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
		w.harness.fault(fmt.Sprintf("SyncFlow fails: %+v", f))
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

// toxics are the disturbances of a bad network.
var toxics = []stack.Toxic{
	{Type: "latency", Attributes: map[string]int64{"latency": 300, "jitter": 200}},
	{Type: "reset_peer", Attributes: map[string]int64{"timeout": 100}},
	{Type: "timeout", Attributes: map[string]int64{"timeout": 0}}, // swallows everything
	{Type: "slow_close", Attributes: map[string]int64{"delay": 1000}},
	{Type: "bandwidth", Attributes: map[string]int64{"rate": 3}},
	{Type: "limit_data", Attributes: map[string]int64{"bytes": 700}}, // hangs up in the middle
}

// badNetwork disturbs the connections to all servers, one toxic after the other, while sessions
// start, run and end. Sometimes it also kills the recorder.
func badNetwork(ctx context.Context, w *World) error {
	proxies := w.harness.Stack.Proxies.All()
	order := w.shuffled(len(toxics) * len(proxies))
	s, err := w.begin(ctx, false)
	if err != nil {
		return err
	}
	if !w.harness.Long { // only the first disturbance for each server
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
		w.harness.fault(fmt.Sprintf("network before %s: %s", p.Name, t))
		if err := p.Add(t); err != nil {
			return err
		}
		if i%3 == 0 {
			if err := w.recorders[0].killFor(ctx, 0); err != nil {
				return err
			}
		}
		if err := backoff.Sleep(ctx, w.between(500*time.Millisecond,
			pick(w, time.Second, 4*time.Second))); err != nil {
			return err
		}
		if p.Name == "S3" { // give it something to upload
			if err := s.end(ctx); err != nil {
				return err
			}
			if err := backoff.Sleep(ctx, w.between(0, time.Second)); err != nil {
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

// everything injects all faults at once, kills included, without waiting for recovery.
func everything(ctx context.Context, w *World) error {
	st, v := w.harness.Stack, w.recorders[0]
	restart := func(name string, kill func() error, start func(context.Context) error) error {
		w.harness.fault(name + " killed and restarted")
		return errors.Join(kill(), backoff.Sleep(ctx, w.between(0, time.Second)), start(ctx))
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
				w.harness.fault(fmt.Sprintf("network before %s: %s", p.Name, t))
				err = errors.Join(p.Add(t), v.killFor(ctx, 0),
					backoff.Sleep(ctx, w.between(time.Second, 3*time.Second)), p.Clear())
			}
			if err != nil {
				return err
			}
			err = backoff.Sleep(ctx, w.between(200*time.Millisecond, 2*time.Second))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
