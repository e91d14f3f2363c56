package rtc_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"github.com/syncflow/textegress/internal/room/rtc"
	"github.com/syncflow/textegress/internal/room/rtc/rtctest"
)

// countingNet is a network on which the n-th datagram arrives n seconds after 1970. It loses some
// and doubles others.
type countingNet struct {
	*stdnet.Net
	arrived *atomic.Int64
	faults  *atomic.Bool
}

type countingConn struct {
	*net.UDPConn
	n     countingNet
	again []byte
	from  netip.AddrPort
}

func (n countingNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := net.ListenUDP(network, a)
	return &countingConn{UDPConn: c, n: n}, err
}

func (c *countingConn) ReadArrival(b []byte) (int, netip.AddrPort, time.Time, error) {
	for {
		var n int
		from, doubled := c.from, c.again != nil
		if doubled {
			n, c.again = copy(b, c.again), nil
		} else {
			var err error
			if n, from, err = c.ReadFromUDPAddrPort(b); err != nil {
				return n, from, time.Time{}, err
			}
		}
		at := time.Unix(c.n.arrived.Add(1), 0)
		if c.n.faults.Load() && !doubled {
			switch rand.IntN(8) {
			case 0:
				continue // lost
			case 1:
				c.again, c.from = append([]byte{}, b[:n]...), from
			}
		}
		return n, from, at, nil
	}
}

func (c *countingConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, _, err := c.ReadArrival(b)
	return n, from, err
}

func (c *countingConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteToUDPAddrPort(b, to)
}

// Each message has the time of a datagram that came after it was sent and before it was delivered,
// also when datagrams are lost and doubled.
func TestMessagesHaveTheirArrival(t *testing.T) {
	noneLeft(t)
	std, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	var arrived atomic.Int64
	var faults atomic.Bool
	api, err := rtc.New(rtc.Options{Net: countingNet{std, &arrived, &faults}, Timeouts: quick})
	if err != nil {
		t.Fatal(err)
	}
	type delivery struct {
		ch rtc.Channel
		at int64
		n  int
	}
	got := make(chan delivery, 1)
	conn, err := api.NewConn(t.Context(), "127.0.0.1",
		func(ch rtc.Channel, at time.Time, b []byte) { got <- delivery{ch, at.Unix(), len(b)} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	c, p := &client{Conn: conn, t: t}, rtctest.NewServer(t, quick).NewPeer(t)
	c.exchange(p, func(sdp string) string { return sdp })
	c.await(rtc.Opened)
	for i, size := range []int{1, 100, 3000, 1, 20_000, 200, 1, 1, 65_000, 10, 5000, 1} {
		faults.Store(i > 3)
		for _, ch := range []rtc.Channel{rtc.Reliable, rtc.Lossy} {
			before := arrived.Load()
			p.Send(ch.String(), make([]byte, size))
			d := <-got
			if after := arrived.Load(); d.ch != ch || d.n != size || d.at <= before ||
				d.at > after {
				t.Errorf("message %s of %d bytes arrived with datagram %d, of %d to %d",
					fmt.Sprint(i), size, d.at, before+1, after)
			}
		}
	}
}
