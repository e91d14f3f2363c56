package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func listen(t *testing.T, network, address string) *conn {
	t.Helper()
	a, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := shared.Listen(network, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &conn{c}
}

var shared = &Poller{Interval: Interval}

// conn is the type that Listen has on any system.
type conn struct{ socket }

type socket interface {
	net.PacketConn
	SetReadBuffer(int) error
}

func (c *conn) addr() *net.UDPAddr { return c.LocalAddr().(*net.UDPAddr) }

// noneLeft checks that nothing runs without sockets.
func noneLeft(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// Each packet reaches its socket, whole and with its sender's address, while many sockets have
// packets at the same time.
func TestEcho(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			noneLeft(t)
			if c, err := net.ListenPacket("udp", address); err != nil {
				t.Skipf("this machine has no such address: %v", err)
			} else {
				_ = c.Close()
			}
			network := map[bool]string{true: "udp4", false: "udp6"}[address[0] != '[']
			const sockets, packets = 50, 40
			server := listen(t, network, address)
			if err := server.SetReadBuffer(4 << 20); err != nil {
				t.Fatal(err)
			}
			go func() {
				buf := make([]byte, 2000)
				for {
					n, from, err := server.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = server.WriteTo(buf[:n], from)
				}
			}()
			var wg sync.WaitGroup
			for i := range sockets {
				c := listen(t, network, address)
				wg.Go(func() {
					buf := make([]byte, 2000)
					for j := range packets {
						want := bytes.Repeat(fmt.Appendf(nil, "%d/%d ", i, j), 1+j)
						if _, err := c.WriteTo(want, server.addr()); err != nil {
							t.Error(err)
							return
						}
						n, from, err := c.ReadFrom(buf)
						if err != nil || !bytes.Equal(buf[:n], want) ||
							from.String() != server.addr().String() {
							t.Errorf("got %q from %v (%v), want %q", buf[:n], from, err, want)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// What arrived before anybody read is read, all of it, although the socket is told only once.
func TestBacklog(t *testing.T) {
	noneLeft(t)
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	for round := range 3 {
		for i := range 100 {
			if _, err := a.WriteTo([]byte{byte(round), byte(i)}, b.addr()); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 10)
		for i := range 100 {
			if n, _, err := b.ReadFrom(buf); err != nil ||
				!bytes.Equal(buf[:n], []byte{byte(round), byte(i)}) {
				t.Fatalf("round %d, packet %d: %v, %v", round, i, buf[:n], err)
			}
		}
	}
}

// A reader that waits is let go by Close and by a deadline, and by nothing else; a deadline that is
// taken back lets it read again.
func TestReadersEnd(t *testing.T) {
	noneLeft(t)
	c := listen(t, "udp4", "127.0.0.1:0")
	got := make(chan error, 1)
	read := func() {
		_, _, err := c.ReadFrom(make([]byte, 10))
		got <- err
	}
	go read()
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go read()
	if _, err := c.WriteTo([]byte("x"), c.addr()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the deadline was taken back: %v", err)
	}
	go read()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := c.WriteTo([]byte("x"), c.addr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
}

// Sockets are opened and closed while others are busy; a descriptor that is used again is not taken
// for its predecessor.
func TestChurn(t *testing.T) {
	noneLeft(t)
	busy := listen(t, "udp4", "127.0.0.1:0")
	var wg sync.WaitGroup
	for range 4 { // they all write to one socket
		wg.Go(func() {
			buf := make([]byte, 100)
			for i := range 200 {
				c := listen(t, "udp4", "127.0.0.1:0")
				want := []byte(c.addr().String())
				if _, err := busy.WriteTo(want, c.addr()); err != nil {
					t.Error(err)
				}
				if n, _, err := c.ReadFrom(buf); err != nil || !bytes.Equal(buf[:n], want) {
					t.Errorf("socket %d got %q, %v; want %q", i, buf[:n], err, want)
				}
				_ = c.Close()
			}
		})
	}
	wg.Wait()
}

// Few packets are not kept waiting. Many are, but none longer than the interval.
func TestWakeLimiter(t *testing.T) {
	w := wakeLimiter{interval: Interval}
	now := time.Unix(1000, 0)
	for i := range burst {
		if d := w.wait(now, 1); d != 0 {
			t.Fatalf("poll %d after a rest waits %v", i+1, d)
		}
	}
	for i := range 10 * burst {
		d := w.wait(now, 1)
		if d <= 0 || d > Interval {
			t.Fatalf("poll %d of many waits %v", i+1, d)
		}
		now = now.Add(d)
	}
	for i := range 10 * burst { // a file: each poll finds many
		d := w.wait(now, 10*busyThreshold)
		if d <= 0 || d > Interval {
			t.Fatalf("poll %d of a busy time waits %v", i+1, d)
		}
		if i == burst && d > Interval/5 {
			t.Errorf("a busy time waits %v", d)
		}
		now = now.Add(d)
	}
	for i := range 100 { // at leisure
		now = now.Add(2 * Interval)
		if d := w.wait(now, 1); d != 0 {
			t.Fatalf("poll %d at leisure waits %v", i+1, d)
		}
	}
	unlimited := wakeLimiter{}
	for range 10 * burst {
		if d := unlimited.wait(now, 1); d != 0 {
			t.Fatalf("a poll without interval waits %v", d)
		}
	}
}

// An address of the other family is an error, and no packet to somewhere else.
func TestOtherFamily(t *testing.T) {
	noneLeft(t)
	c := listen(t, "udp4", "127.0.0.1:0")
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:9"))
	if _, err := c.WriteTo([]byte("x"), to); err == nil {
		t.Error("an IPv4 socket sends to an IPv6 address")
	}
	if _, err := c.WriteTo([]byte("x"), &net.TCPAddr{}); err == nil {
		t.Error("a UDP socket sends to a TCP address")
	}
}
