package roomtest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// ways leave one way open that leads to the server: its TURN server over UDP, or over TLS.
var ways = map[string]func(l *stack.LiveKit, n *faultNet){
	"udp": func(l *stack.LiveKit, n *faultNet) { n.noDirect, n.turnPort = true, l.TURNUDP },
	"tls": func(l *stack.LiveKit, n *faultNet) {
		n.noDirect = true
		n.hosts = map[string]string{stack.TURNDomain + ":443": l.TURNTLS}
	},
}

// everything sends for a while and fails unless all of it is recorded.
func everything(t *testing.T, s *recorded, during func()) {
	t.Helper()
	c := startCrowd(s)
	time.Sleep(time.Second)
	during()
	c.end()
	eventually(t, "all messages", func() bool { return s.complete(c) })
	a := s.account()
	// before the first message
	a.outages = slices.DeleteFunc(a.outages, func(o outage) bool { return o.cause == "slow_join" })
	if n := a.check(t, c); n != 0 || len(a.outages) != 0 || a.joins != 1 {
		t.Errorf("%d missing, outages %v, %d joins", n, a.outages, a.joins)
	}
}

// Where UDP does not lead to the server, its TURN server does: at once if we are told to use
// nothing else, and by itself after a while.
func TestTURN(t *testing.T) {
	t.Parallel()
	for _, v := range versions {
		for _, way := range []string{"udp", "tls"} {
			for _, only := range []bool{true, false} {
				name := v + " " + way
				if only {
					name += " relay only"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					l := relays[v]
					s := startSession(t, l, "turn "+name, func(n *faultNet, o *room.Options) {
						ways[way](l, n)
						o.RelayOnly = only
					})
					everything(t, s, func() {})
					if tcp := s.net.dialed(); (tcp > 0) != (way == "tls") {
						t.Errorf("%d TCP connections to the TURN server", tcp)
					}
				})
			}
		}
	}
}

// UDP is cut for good in mid-session: the connection moves to TURN over TLS, and nothing is lost.
func TestUDPCutForGood(t *testing.T) {
	t.Parallel()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			l := relays[v]
			s := startSession(t, l, "cut for good", func(n *faultNet, _ *room.Options) {
				n.hosts = map[string]string{stack.TURNDomain + ":443": l.TURNTLS}
			})
			everything(t, s, func() {
				s.net.set(faults{dark: true})
				before := s.snapshot().Packets
				begin := time.Now()
				eventually(t, "packets again",
					func() bool { return s.snapshot().Packets > before+50 })
				t.Logf("packets again after %v", time.Since(begin).Round(10*time.Millisecond))
			})
		})
	}
}

// A server that names no TURN server cannot be reached through one, and the error says so.
func TestRelayOnlyWithoutTURN(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		c, err := room.NewClient(room.Options{RelayOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.Token("recorder", stack.RecorderGrants("no turn"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Join(t.Context(), room.JoinOptions{
			URL: l.URL, Token: token,
			Handler: &recording{},
		})
		if je, ok := errors.AsType[*room.JoinError](err); !ok || je.Phase != "relay" {
			t.Errorf("got %v", err)
		}
		nobody(t, l, "no turn")
	})
}
