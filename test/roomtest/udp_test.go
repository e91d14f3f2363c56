package roomtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/test/stack"
)

// A network that loses, delays, reorders and repeats packets costs nothing: SCTP repairs it, also
// for what was sent as lossy.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		t.Parallel()
		for name, f := range map[string]faults{
			"loss":   {loss: 0.15},
			"jitter": {delay: 20 * time.Millisecond, jitter: 60 * time.Millisecond, twice: 0.1},
			"all": {
				loss: 0.05, twice: 0.05, delay: 5 * time.Millisecond,
				jitter: 30 * time.Millisecond,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := startSession(t, l, "bad network "+name, nil)
				c := startCrowd(s)
				s.net.set(f)
				time.Sleep(6 * time.Second)
				c.end()
				eventually(t, "all messages", func() bool { return s.complete(c) })
				a := s.account()
				if n := a.check(t, c); n != 0 || len(a.outages) != 0 || a.joins != 1 {
					t.Errorf("%d missing, outages %v, %d joins", n, a.outages, a.joins)
				}
			})
		}
	})
}

// Nothing passes for a while, of UDP or of everything. Up to 12 s nothing is lost. Later the server
// has given us up: the outage is stated, and what is missing lies in it. If only UDP is cut, an ICE
// restart buys some seconds.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		t.Parallel()
		for _, hole := range []struct {
			seconds  int
			only     bool // UDP only
			lossless bool
		}{
			{5, false, true},
			{12, false, true},
			{17, false, false},
			{25, false, false},
			{5, true, true},
			{12, true, true},
			{17, true, true},
			{30, true, false},
		} {
			name := fmt.Sprintf("%d s", hole.seconds)
			if hole.only {
				name += " of UDP"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := startSession(t, l, "black hole "+name, nil)
				c := startCrowd(s)
				time.Sleep(time.Second)
				began := time.Now()
				if hole.only {
					s.net.set(faults{dark: true})
				} else {
					s.darken()
				}
				time.Sleep(time.Duration(hole.seconds) * time.Second)
				s.heal()
				healed := time.Now()
				before := s.snapshot().Packets
				eventually(t, "packets again", func() bool { return s.snapshot().Packets > before })
				t.Logf("packets again after %v", time.Since(healed).Round(10*time.Millisecond))
				time.Sleep(time.Second)
				c.end()
				eventually(t, "the last messages", func() bool { return s.complete(c) })
				a := s.account()
				missing := a.check(t, c)
				t.Logf("%d sent on each channel, %d missing, outages %v", c.sent, missing,
					a.outages)
				if hole.lossless != (missing == 0) || hole.lossless != (len(a.outages) == 0) {
					t.Errorf("%d missing, %d outages", missing, len(a.outages))
				}
				for _, o := range a.outages {
					if o.cause == "slow_join" { // joined again while UDP was still cut
						continue
					}
					if o.since.Before(began.Add(-3*time.Second)) ||
						o.since.After(began.Add(time.Second)) {
						t.Errorf("the outage is said to begin %v after the network failed",
							o.since.Sub(began))
					}
				}
			})
		}
	})
}

// The room is deleted while we are cut off. When the network works again we do not come back, which
// would make it again.
func TestRoomDeletedWhileAway(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		t.Parallel()
		s := startSession(t, l, "deleted while away", nil)
		eventually(t, "the channels are open", func() bool {
			if err := l.SendData(t.Context(), s.name, "topic", true, []byte("-1")); err != nil {
				t.Fatal(err)
			}
			return s.snapshot().Packets > 0
		})
		s.darken()
		if err := l.DeleteRoom(t.Context(), s.name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		s.heal()
		eventually(t, "the end of the recording",
			func() bool { return s.rec.State() != spool.StateOpen })
		if sealed, _ := s.rec.Sealed(); sealed.Reason != recorder.ReasonSessionEnded ||
			sealed.Status != textegress.StatusComplete {
			t.Errorf("sealed: %+v", sealed)
		}
		if a := s.account(); a.joins != 1 || len(a.outages) != 1 {
			t.Errorf("%d joins, outages %v", a.joins, a.outages)
		}
		noRoom(t, l, s.name)
	})
}

// Our address changes: what we have open leads nowhere, and nobody is told. An ICE restart from new
// sockets, over a new websocket, saves the connection and everything that was sent meanwhile.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		t.Parallel()
		for _, name := range []string{"UDP only", "websocket too"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := startSession(t, l, "address change "+name, nil)
				c := startCrowd(s)
				time.Sleep(time.Second)
				began := time.Now()
				s.net.moved()
				if name != "UDP only" {
					s.proxy.moved()
				}
				time.Sleep(time.Second)
				before := s.snapshot().Packets
				eventually(t, "packets again", func() bool { return s.snapshot().Packets > before })
				t.Logf("packets again after %v", time.Since(began).Round(10*time.Millisecond))
				c.end()
				eventually(t, "all messages", func() bool { return s.complete(c) })
				a := s.account()
				if n := a.check(t, c); n != 0 || len(a.outages) != 0 || a.joins != 1 {
					t.Errorf("%d missing, outages %v, %d joins", n, a.outages, a.joins)
				}
			})
		}
	})
}
