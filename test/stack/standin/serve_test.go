package standin

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// served is a server on loopback that was told to stop while a client holds a connection to it.
func served(t *testing.T, l Limits) (addr string, held net.Conn, ended <-chan error) {
	t.Helper()
	s, err := New(t.Context(), Config{Dir: t.TempDir(), Limits: l}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(stop, listener) }()
	addr = listener.Addr().String()
	held = dial(t, addr)
	if _, err := fmt.Fprint(held, "GET /_control HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(held), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	cancel()
	return addr, held, done
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A server that was told to stop keeps its port and answers nobody until its clients have gone.
func TestStopWaitsForClients(t *testing.T) {
	addr, held, ended := served(t, Limits{KeepAlive: time.Hour, Shutdown: time.Hour})
	late := dial(t, addr)
	if l, err := net.Listen("tcp", addr); err == nil {
		l.Close()
		t.Error("the port is free while a client is there")
	}
	held.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("a client that came too late got an answer")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
}
