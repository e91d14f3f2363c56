package udp

import (
	"net"
	"testing"
	"time"
)

// A packet that waits in its socket's buffer was there when it was sent, whenever it is read.
func TestArrival(t *testing.T) {
	noneLeft(t)
	c, err := shared.Listen("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := c.LocalAddr().(*net.UDPAddr).AddrPort()
	b := make([]byte, 10)
	// The kernel begins to stamp packets a moment after the first socket has asked for it.
	for stamped := false; !stamped; {
		if _, err := c.WriteToAddrPort([]byte{0}, to); err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		time.Sleep(time.Millisecond)
		_, _, at, err := c.ReadArrival(b)
		if err != nil {
			t.Fatal(err)
		}
		stamped = !at.After(sent)
	}
	const packets = 20
	var sent [packets + 1]time.Time
	for i := range packets {
		sent[i] = time.Now()
		if _, err := c.WriteToAddrPort([]byte{byte(i)}, to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	sent[packets] = time.Now()
	for i := range packets {
		n, from, at, err := c.ReadArrival(b)
		if err != nil || n != 1 || b[0] != byte(i) || from != to {
			t.Fatalf("packet %d: %v from %v, %v", i, b[:n], from, err)
		}
		if at.Before(sent[i]) || at.After(sent[i+1]) {
			t.Errorf("packet %d arrived %v after it was sent, the next one was sent after %v", i,
				at.Sub(sent[i]), sent[i+1].Sub(sent[i]))
		}
	}
}

// Without a time of the kernel, or with one that lies ahead, it is the time of reading.
func TestArrivalUnknown(t *testing.T) {
	now := time.Now()
	for name, control := range map[string][]byte{
		"none": nil, "too short": {1, 2}, "no length": make([]byte, 64),
		"beyond the end": {255, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 35, 0, 0, 0},
		"ahead": {
			32, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 35, 0, 0, 0,
			0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		},
	} {
		if got := arrival(control, now); !got.Equal(now) {
			t.Errorf("%s: %v, want %v", name, got, now)
		}
	}
}
