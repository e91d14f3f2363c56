package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncflow/textegress/devstack"
	"github.com/syncflow/textegress/devstack/classroom"
)

// spike are the figures of the prototype of the room client on a comparable machine: the lowest and the highest of its runs. It
// asked nobody for a token, wrote no recording.json and kept one log for all rooms.
var spike = map[string][2]float64{
	"join of one room alone, mean of 20 (ms)":              {22, 69},
	"join of 200 rooms at once (s)":                        {3.0, 3.9},
	"join of 1000 rooms at once (s)":                       {17, 19},
	"memory per idle room of 200, RSS (KB)":                {264, 270},
	"memory per idle room of 1000, RSS (KB)":               {236, 240},
	"CPU per idle room of 200 (ms/s)":                      {0.35, 0.4},
	"CPU for 100,000 messages, one room of 4 x 1000/s (s)": {4.84, 5.88},
	"CPU for 100,000 messages, 100 rooms of 10/s (s)":      {12.6, 15.4},
}

func cases() []benchCase {
	few := func(quick bool) int {
		if quick {
			return 1
		}
		return 3
	}
	once := func(bool) int { return 1 }
	return []benchCase{
		{name: "single", runs: few, run: single},
		{name: "idle-200", runs: few, run: idle(200)},
		{name: "idle-1000", runs: once, run: idle(1000), slow: true},
		{name: "dense", runs: few, run: load("one room of 4 x 1000/s", 1, 4, 1000, 25)},
		{name: "sparse", runs: few, run: load("100 rooms of 10/s", 100, 1, 10, 40)},
		{name: "idle-40", runs: few, run: idle(40)},
		{name: "peers-gosdk-idle", runs: few, run: peerIdle(peerGoSDK, 40), slow: true},
		{name: "peers-gosdk-dense", runs: few, run: peerLoad(peerGoSDK, "one room of 4 x 1000/s", 1, 4, 1000, 25), slow: true},
		{name: "peers-gosdk-sparse", runs: few, run: peerLoad(peerGoSDK, "100 rooms of 10/s", 100, 1, 10, 40), slow: true},
		{name: "peers-node-idle", runs: few, run: peerIdle(peerRTCNode, 40), slow: true},
		{name: "peers-node-dense", runs: few, run: peerLoad(peerRTCNode, "one room of 4 x 1000/s", 1, 4, 1000, 25), slow: true},
		{name: "peers-node-sparse", runs: few, run: peerLoad(peerRTCNode, "100 rooms of 10/s", 100, 1, 10, 40), slow: true},
		{name: "sparse-1000", runs: once, run: load("1000 rooms of 1/s", 1000, 1, 1, 60), slow: true},
	}
}

// single joins rooms one after the other. "Join" is from the publication of the announcement to open data channels, so with a
// durable recording.json and a token.
func single(ctx context.Context, w *world) ([]measured, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	const n = 20
	sessions, err := w.sessions(ctx, n)
	if err != nil {
		return nil, err
	}
	r, err := w.recorder(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Kill() //nolint:errcheck // the next case starts another
	var took []float64
	for i, s := range sessions {
		began := time.Now()
		if err := w.announce(ctx, s); err != nil {
			return nil, err
		}
		if err := joinedQuickly(ctx, r, i+1); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	m, err := metrics(ctx, r)
	if err != nil {
		return nil, err
	}
	ended := time.Now()
	if err := w.end(ctx, sessions[:1]); err != nil {
		return nil, err
	}
	if _, err := w.stack.AwaitDelivered(ctx, r, w.stack.SyncFlow.Projects[0], sessions[0].ID, 1); err != nil {
		return nil, err
	}
	delivered := time.Since(ended)
	if err := w.end(ctx, sessions[1:]); err != nil {
		return nil, err
	}
	return []measured{
		{"join of one room alone, mean of 20 (ms)", m["livekit_data_egress_join_seconds_sum"] / m["livekit_data_egress_join_seconds_count"] * 1000},
		{"announcement to open data channels, median of 20 (ms)", percentile(took, 0.5)},
		{"announcement to open data channels, slowest of 20 (ms)", percentile(took, 1)},
		{"end of an empty room to verified delivery (ms)", float64(delivered.Milliseconds())},
	}, r.Stop(ctx)
}

// joinedQuickly looks every few milliseconds.
func joinedQuickly(ctx context.Context, r *devstack.Recorder, n int) error {
	for {
		m, err := metrics(ctx, r)
		if err != nil {
			return err
		}
		if m["livekit_data_egress_joins_total ok"] >= float64(n) {
			return nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("the room was not joined: %w", err)
		}
	}
}

// idle joins rooms all at once and looks at what they cost when nothing happens in them.
func idle(n int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
		defer cancel()
		sessions, err := w.sessions(ctx, n)
		if err != nil {
			return nil, err
		}
		r, err := w.recorder(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Kill() //nolint:errcheck // the next case starts another
		empty, err := look(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := w.announce(ctx, sessions...); err != nil {
			return nil, err
		}
		if err := joined(ctx, r, n); err != nil {
			return nil, err
		}
		took := time.Since(empty.at)
		// As much as a process that has just been busy keeps for a while is not the rooms'.
		if err := pause(ctx, 30*time.Second); err != nil {
			return nil, err
		}
		full, err := look(ctx, r)
		if err != nil {
			return nil, err
		}
		if w.o.Profile == "" {
			err = pause(ctx, 20*time.Second)
		} else {
			err = profile(ctx, r, filepath.Join(w.o.Profile, fmt.Sprintf("idle %d", n)), 20)
		}
		if err != nil {
			return nil, err
		}
		later, err := look(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := w.end(ctx, sessions); err != nil {
			return nil, err
		}
		per := func(v float64) float64 { return v / float64(n) }
		return []measured{
			{fmt.Sprintf("join of %d rooms at once (s)", n), took.Seconds()},
			{fmt.Sprintf("memory per idle room of %d, RSS (KB)", n), per(full.rss-empty.rss) / 1024},
			{fmt.Sprintf("memory per idle room of %d, heap in use (KB)", n), per(full.heap-empty.heap) / 1024},
			{fmt.Sprintf("memory without rooms before %d, RSS (MB)", n), empty.rss / (1 << 20)},
			{fmt.Sprintf("CPU per idle room of %d (ms/s)", n), per(float64((later.cpu-full.cpu).Microseconds())/1000) / later.at.Sub(full.at).Seconds()},
		}, r.Stop(ctx)
	}
}

// load sends messages of 200 bytes at a steady rate and counts the recorder's CPU time, fsync included.
func load(what string, rooms, senders int, rate, seconds float64) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
		defer cancel()
		sessions, err := w.sessions(ctx, rooms)
		if err != nil {
			return nil, err
		}
		r, err := w.recorder(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Kill() //nolint:errcheck // the next case starts another
		if err := w.announce(ctx, sessions...); err != nil {
			return nil, err
		}
		if err := joined(ctx, r, rooms); err != nil {
			return nil, err
		}
		plan := classroom.Load{Senders: senders, Rate: rate, Seconds: seconds, Size: 200, Topic: "log"}
		for _, s := range sessions {
			plan.Rooms = append(plan.Rooms, s.LivekitRoomName)
		}
		var before reading
		sent, err := w.send(ctx, plan, func() error {
			before, err = look(ctx, r)
			if err == nil && w.o.Profile != "" {
				go profile(ctx, r, filepath.Join(w.o.Profile, strings.ReplaceAll(what, "/", " per ")), seconds) //nolint:errcheck // then there is none
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := recorded(ctx, r, sent); err != nil {
			return nil, err
		}
		after, err := look(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := w.end(ctx, sessions); err != nil {
			return nil, err
		}
		if err := w.complete(ctx, r, sessions, sent); err != nil {
			return nil, err
		}
		hundredThousands := float64(sent) / 100_000
		return []measured{
			{fmt.Sprintf("CPU for 100,000 messages, %s (s)", what), (after.cpu - before.cpu).Seconds() / hundredThousands},
			{fmt.Sprintf("memory per room, %s, RSS (KB)", what), after.rss / float64(rooms) / 1024},
		}, r.Stop(ctx)
	}
}

// send has a load generator carry out a plan and returns how many messages were sent. begin is called when all senders have joined.
func (w *world) send(ctx context.Context, plan classroom.Load, begin func() error) (int, error) {
	l, err := w.stack.LiveKit.StartLoad(ctx, plan)
	if err != nil {
		return 0, err
	}
	defer l.Close() //nolint:errcheck // its files are in a temporary folder
	if err := begin(); err != nil {
		return 0, err
	}
	if err := l.Go(); err != nil {
		return 0, err
	}
	res, err := l.Wait(ctx)
	if err != nil {
		return 0, err
	}
	sent := 0
	for _, s := range res.Senders {
		if s.Error != "" {
			return 0, fmt.Errorf("the load was not sent: %s", s.Error)
		}
		sent += s.Messages
	}
	return sent, nil
}

// complete waits until the sessions are delivered and checks that each message is there.
func (w *world) complete(ctx context.Context, r *devstack.Recorder, sessions []devstack.Session, sent int) error {
	err := until(ctx, r, "everything is delivered", func(m map[string]float64) bool {
		return m["livekit_data_egress_uploads_total ok"] >= float64(len(sessions))
	})
	if err != nil {
		return err
	}
	got := int64(0)
	for _, s := range sessions {
		ds, err := w.stack.Delivered(w.stack.SyncFlow.Projects[0], s.ID)
		if err != nil {
			return err
		}
		for _, d := range ds {
			got += d.Manifest().Counts.Messages
		}
	}
	if got != int64(sent) {
		return fmt.Errorf("%d messages were sent, %d delivered", sent, got)
	}
	return nil
}
