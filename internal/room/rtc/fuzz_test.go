package rtc

import (
	"net"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// noNet is a network without interfaces: fuzzing opens no socket.
type noNet struct{ *stdnet.Net }

func (noNet) Interfaces() ([]*transport.Interface, error) { return nil, nil }
func (noNet) ListenUDP(string, *net.UDPAddr) (transport.UDPConn, error) {
	return nil, net.ErrClosed
}

// FuzzAnswer takes whatever a server may send as an answer and as candidates before and after it.
// Nothing panics, and what is remembered is bounded.
func FuzzAnswer(f *testing.F) {
	const candidate = `{"candidate":"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"}`
	f.Add(uint32(1), answerText, candidate)
	f.Add(uint32(0), "v=0\r\n", "{")
	f.Add(uint32(7), answerText, "")
	std, err := stdnet.NewNet()
	if err != nil {
		f.Fatal(err)
	}
	api, err := New(Options{Net: noNet{std}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id uint32, sdp, candidate string) {
		c, err := api.newConn(network{v4: true}, func(Channel, time.Time, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range maxCandidates + 1 {
			c.AddCandidate(candidate)
		}
		if _, err := c.Offer(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		_ = c.Answer(id, sdp)
		c.AddCandidate(candidate)
		if len(c.remote.early) > maxCandidates || c.remote.candidates > maxCandidates {
			t.Error("too much is remembered")
		}
	})
}
