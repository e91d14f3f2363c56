package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress/client"
	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/api/apitest"
	lk "github.com/syncflow/textegress/internal/livekit"
)

var key = lk.Key{ID: "APIkey", Secret: "a secret of LiveKit"}

// wire passes requests to the API without a network, so that it works in a synctest bubble. It
// breaks the first connections after the request was handled.
type wire struct {
	handler http.Handler
	breaks  atomic.Int64
	wrong   int // answers of a proxy that come before those of the service
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.wrong > 0 {
		w.wrong--
		return &http.Response{
			StatusCode: http.StatusBadGateway, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader("<html>")),
		}, nil
	}
	resp := httptest.NewRecorder()
	w.handler.ServeHTTP(resp, r)
	if w.breaks.Add(-1) >= 0 {
		return nil, errors.New("connection reset by peer")
	}
	return resp.Result(), nil
}

func newClient(t *testing.T, options ...client.Option) (*client.Client, *apitest.Service, *wire) {
	t.Helper()
	service := apitest.New()
	w := &wire{handler: handler(service)}
	options = append(options, client.WithHTTPClient(&http.Client{Transport: w}))
	c, err := client.New("http://textegress:9464/", key.ID, key.Secret, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c, service, w
}

func handler(service *apitest.Service) http.Handler {
	return api.New(api.Options{
		Service:  service,
		Projects: func() []api.Project { return []api.Project{{ID: "livekit", Key: key}} },
		Logger:   slog.New(slog.DiscardHandler),
	})
}

// code returns the code of an error, "" if it has none.
func code(err error) twirp.ErrorCode {
	var e twirp.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code()
}

// TestStartRepeated: a start whose answer is lost is repeated, and records once.
func TestStartRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, w := newClient(t)
		service.OpenRoom("livekit", "room")
		service.FailNext(fmt.Errorf("%w: starting", api.ErrLater))
		w.breaks.Store(2)
		w.wrong = 1
		e, err := c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "room"})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Repeat([]string{"Start livekit room"}, 3)
		if diff := cmp.Diff(want, service.Calls()); diff != "" {
			t.Error(diff)
		}
		list, err := c.List(t.Context(), nil)
		if err != nil || len(list) != 1 || list[0].GetEgressId() != e.GetEgressId() {
			t.Errorf("%v, %v", list, err)
		}
		// Two requests are two requests.
		_, err = c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "room"})
		var answer twirp.Error
		if !errors.As(err, &answer) || answer.Code() != twirp.AlreadyExists ||
			answer.Meta("egress_id") != e.GetEgressId() {
			t.Errorf("second start: %v", err)
		}
		if _, err := c.Start(t.Context(), nil); code(err) != twirp.InvalidArgument {
			t.Errorf("Start(nil): %v", err)
		}
	})
}

// TestStopRepeated: a stop whose answer is lost is repeated.
func TestStopRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, w := newClient(t)
		service.OpenRoom("livekit", "room")
		e, err := c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "room"})
		if err != nil {
			t.Fatal(err)
		}
		w.breaks.Store(1)
		e, err = c.Stop(t.Context(), e.GetEgressId())
		if err != nil || e.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
			t.Errorf("%v, %v", e, err)
		}
	})
}

// TestNotRepeated: a request is not retried after a final error, and attempted five times after
// temporary ones.
func TestNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, w := newClient(t)
		if _, err := c.Statement(t.Context(), "DE_x"); code(err) != twirp.NotFound ||
			!strings.Contains(err.Error(), "statement of DE_x") {
			t.Errorf("unknown: %v", err)
		}
		if n := len(service.Calls()); n != 1 {
			t.Errorf("%d calls for an unknown recording", n)
		}
		w.breaks.Store(100)
		if _, err := c.List(t.Context(), nil); err == nil {
			t.Error("no error")
		}
		if n := 100 - w.breaks.Load(); n != 5 {
			t.Errorf("%d attempts", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		w.breaks.Store(100)
		if _, err := c.List(ctx, nil); err == nil || w.breaks.Load() != 99 {
			t.Errorf("%d attempts after the end of the context, %v", 100-w.breaks.Load(), err)
		}
	})
}

// TestList: every page is read, and the newest recording is the last.
func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, _ := newClient(t)
		var want, got []string
		for i := range 205 {
			room := fmt.Sprint(i)
			service.OpenRoom("livekit", room)
			e, err := service.Start(t.Context(), "livekit", api.Start{Room: room})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, e.GetEgressId())
		}
		list, err := c.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			got = append(got, e.GetEgressId())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWait: Wait returns when the recording is delivered, despite temporary errors.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, w := newClient(t)
		service.OpenRoom("livekit", "room")
		e, err := c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "room"})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Minute)
			w.breaks.Store(50)
			time.Sleep(10 * time.Minute)
			service.Deliver("livekit", e.GetEgressId())
		}()
		e, err = c.Wait(t.Context(), e.GetEgressId())
		if err != nil || e.GetStatus() != livekit.EgressStatus_EGRESS_COMPLETE {
			t.Errorf("%v, %v", e, err)
		}
		if _, err := c.Wait(t.Context(), "DE_x"); code(err) != twirp.NotFound {
			t.Errorf("unknown: %v", err)
		}
		service.OpenRoom("livekit", "another")
		e, err = c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "another"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Wait(ctx, e.GetEgressId()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait after the end of its context = %v", err)
		}
	})
}

// TestRoom: a client for one room does not see others.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, service, _ := newClient(t, client.WithRoom("mine"))
		service.OpenRoom("livekit", "mine")
		service.OpenRoom("livekit", "other")
		_, err := c.Start(t.Context(), &dataegress.StartDataEgressRequest{RoomName: "other"})
		if code(err) != twirp.PermissionDenied {
			t.Errorf("other room: %v", err)
		}
		if _, err := c.Start(t.Context(),
			&dataegress.StartDataEgressRequest{RoomName: "mine"}); err != nil {
			t.Error(err)
		}
	})
}

// TestNew: invalid URLs and keys are rejected at once; no error contains the secret.
func TestNew(t *testing.T) {
	for _, args := range [][3]string{
		{"textegress:9464", "k", "s3cr3t"},
		{"ws://textegress:9464", "k", "s3cr3t"},
		{"http://", "k", "s3cr3t"},
		{"http://h\x7f", "k", "s3cr3t"},
		{"http://textegress:9464", "", "s3cr3t"},
		{"http://textegress:9464", "k", ""},
	} {
		_, err := client.New(args[0], args[1], args[2])
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("New(%q) = %v", args[:2], err)
		}
	}
}
