package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/web"
)

// TestIdleConnectionsKeepNobodyOut opens more connections than either server may hold, and asks for
// nothing on any of them.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	const opened, most = 250, 128
	for _, door := range []struct {
		network, addr string
		beginning     string // what a peer sends of a request that it does not finish
	}{
		{"tcp", w.app.Addr(), ""},
		{"tcp", w.app.Addr(), "GET /healthz HTTP/1.1\r\nHost: localh"},
		{"unix", filepath.Join(w.dir, "textegress-data", web.SocketName), ""},
	} {
		var conns []net.Conn
		for range opened {
			conn, err := net.Dial(door.network, door.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, door.beginning); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		if code, body := w.get("/healthz", ""); code != 200 {
			t.Errorf("/healthz with %d idle connections at %s: %d %s", opened, door.addr, code,
				body)
		}
		if _, err := web.Dial(filepath.Join(w.dir, "textegress-data")).Status(
			t.Context()); err != nil {
			t.Errorf("the control socket with %d idle connections at %s: %v", opened, door.addr,
				err)
		}
		// Connections are accepted in their order, so that those before the last ones have lost
		// their places by now.
		for i, conn := range conns[:opened-most] {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("connection %d of %d to %s is still held", i, opened, door.addr)
			}
		}
	}
}

// TestHostOnLoopback: a page on the Internet that makes its name resolve to 127.0.0.1 must not read
// the status.
func TestHostOnLoopback(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "HTTP_ADDR=localhost:0")
	w.start()
	_, port, err := net.SplitHostPort(w.app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"localhost":                         200,
		"LOCALHOST.:" + port:                200,
		"127.0.0.1":                         200,
		"127.0.0.1:" + port:                 200,
		"127.8.9.1:80":                      200,
		"[::1]":                             200,
		"[::1]:" + port:                     200,
		"[::ffff:127.0.0.1]:" + port:        200,
		"rebound.example":                   421,
		"rebound.example:" + port:           421,
		"localhost.rebound.example":         421,
		"127.0.0.1.rebound.example:" + port: 421,
		"192.0.2.1:" + port:                 421,
	} {
		for _, path := range []string{"/status.json", "/metrics", "/healthz", "/none"} {
			code, body := w.get(path, host)
			if path == "/none" && want == 200 {
				want = 404
			}
			if code != want {
				t.Errorf("%s with Host %s: %d, want %d", path, host, code, want)
			}
			if want == 421 && (!strings.Contains(body, "HTTP_ADDR") ||
				!strings.Contains(body, "localhost") || strings.Contains(body, w.dir)) {
				t.Errorf("%s with Host %s: the refusal does not say why:\n%s", path, host, body)
			}
		}
	}
	// HTTP/1.0 has no Host header.
	conn, err := net.Dial("tcp", w.app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("HTTP/1.0 without Host: %v, %v", resp, err)
	}
	if resp != nil {
		resp.Body.Close()
	}
}

// TestAPIByGet: a request of the API with the wrong method gets an answer of the API.
func TestAPIByGet(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "a"))
	w.start()
	code, body := w.get("/twirp/textegress.DataEgress/ListDataEgress", "")
	if code != http.StatusNotFound || !strings.Contains(body, "the services are POST") {
		t.Errorf("%d %s", code, body)
	}
}

// get asks the service over HTTP; an empty host stands for its address.
func (w *world) get(path, host string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.app.Addr()+
		path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = host
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		Timeout:   30 * time.Second,
	}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
