package web_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/web"
	"github.com/syncflow/textegress/internal/web/stream"
)

// localListener is a pipeListener at an address on loopback.
type localListener struct{ *pipeListener }

func (localListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestStreams: with as many open streams as there may be, others are refused, everything else is
// served, no limit of time ends them, and the end of the service does at once.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 64
		began, ended := make(chan bool, most+1), make(chan error, most+1)
		s := web.New(web.Options{
			Service: &fakeService{}, Gatherer: prometheus.NewRegistry(), Doors: newDoors(),
			Logger: slog.New(slog.DiscardHandler),
			Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, ok := stream.Open(w, r)
				if !ok {
					return
				}
				defer s.Close()
				err := s.Comment()
				began <- true
				for err == nil {
					select {
					case <-s.Context().Done():
						ended <- s.Context().Err()
						return
					case <-time.After(15 * time.Second):
						err = s.Comment()
					}
				}
				ended <- err
			}),
		})
		l := localListener{newPipeListener()}
		e := s.HTTP(l, "127.0.0.1:1")
		done := make(chan error, 1)
		go func() { done <- e.Run() }()
		ask := func(path string) (*http.Response, net.Conn) {
			conn, _ := l.dial()
			go io.WriteString(conn, request("GET "+path+" HTTP/1.1",
				"Host: localhost")) //nolint:errcheck // the answer tells
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp, conn
		}
		for range most {
			resp, conn := ask("/stream")
			defer conn.Close()
			<-began
			go io.Copy(io.Discard, resp.Body) //nolint:errcheck // until the server closes it
		}
		for path, want := range map[string]int{"/stream": 503, "/healthz": 200} {
			resp, conn := ask(path)
			if resp.StatusCode != want {
				t.Errorf("%s with %d streams: %s, want %d", path, most, resp.Status, want)
			}
			conn.Close()
			resp.Body.Close()
		}
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
		select {
		case err := <-ended:
			t.Errorf("a stream ended by itself: %v", err)
		default:
		}
		stopping := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := e.Close(ctx); err != nil || time.Since(stopping) > time.Second {
			t.Errorf("Close = %v after %v", err, time.Since(stopping))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
