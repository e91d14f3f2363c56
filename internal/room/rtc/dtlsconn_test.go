package rtc

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/transport/v4"
)

// What nobody reads is bounded, and what was taken in comes out whole and in order.
func TestDTLSConnIsBounded(t *testing.T) {
	d := newDTLSConn()
	sent := 0
	for i := range 3 * maxQueued / 1000 {
		d.enqueue(bytes.Repeat([]byte{byte(i)}, 1000), time.Now())
		sent++
	}
	if d.bytes > maxQueued {
		t.Errorf("%d bytes wait, at most %d should", d.bytes, maxQueued)
	}
	buf := make([]byte, maxDatagram)
	for i := range maxQueued / 1000 {
		if n, _, err := d.ReadFrom(buf); err != nil ||
			!bytes.Equal(buf[:n], bytes.Repeat([]byte{byte(i)}, 1000)) {
			t.Fatalf("datagram %d: %v, %v", i, buf[:n], err)
		}
	}
	if d.bytes != 0 || cap(d.queue) != 0 {
		t.Errorf("%d bytes and room for %d datagrams are kept", d.bytes, cap(d.queue))
	}
	if err := d.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a deadline: %v", err)
	}
	_ = d.SetReadDeadline(time.Time{})
	_ = d.Close()
	d.enqueue([]byte("too late"), time.Now())
	if _, _, err := d.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// script is a socket on which these packets arrive.
type script struct {
	transport.UDPConn
	in [][]byte
}

func (s *script) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := s.ReadFromAddrPort(b)
	return n, placeholderAddr, err
}

func (s *script) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	if len(s.in) == 0 {
		return 0, netip.AddrPort{}, errOver
	}
	n := copy(b, s.in[0])
	s.in = s.in[1:]
	return n, netip.AddrPort{}, nil
}

func (*script) WriteToAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

// DTLS goes one way, and STUN and whatever else comes the other.
func TestDemux(t *testing.T) {
	dtls, stun := []byte{22, 254, 253}, []byte{0, 1, 0, 0}
	for name, read := range map[string]func(*script, *dtlsConn) ([]byte, error){
		"fast": func(s *script, d *dtlsConn) ([]byte, error) {
			b := make([]byte, 100)
			n, _, err := addrPortSocket{s, d}.ReadFromAddrPort(b)
			return b[:n], err
		},
		"any": func(s *script, d *dtlsConn) ([]byte, error) {
			b := make([]byte, 100)
			n, _, err := socket{s, d}.ReadFrom(b)
			return b[:n], err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := &script{in: [][]byte{dtls, stun, {}, dtls, {128, 200}}}, newDTLSConn()
			for _, want := range [][]byte{stun, {}, {128, 200}} {
				if got, err := read(s, d); err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %v, %v; want %v", got, err, want)
				}
			}
			if _, err := read(s, d); !errors.Is(err, errOver) {
				t.Error(err)
			}
			if len(d.queue) != 2 {
				t.Errorf("%d datagrams for DTLS", len(d.queue))
			}
		})
	}
}
