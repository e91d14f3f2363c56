package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/api/apitest"
)

// TestLife: a recording from its start to its statement, in both encodings.
func TestLife(t *testing.T) {
	for name := range newWorld(t).both() {
		w := newWorld(t)
		client, ctx := w.both()[name], w.as(keyA, all)
		w.service.OpenRoom("a", "Biology 2")
		req := &dataegress.StartDataEgressRequest{
			RoomName: "Biology 2", Topics: []string{"lk.chat", "!debug-*"},
			Participants: []string{"ana"}, Prefix: "course/week 3/",
			Webhooks: []string{"https://example.org/hook"}, RequestId: "r1",
		}
		e, err := client.StartDataEgress(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(api.Start{
			Room: "Biology 2", Topics: []string{"lk.chat", "!debug-*"},
			Participants: []string{"ana"}, Prefix: "course/week 3",
			Webhooks: []string{"https://example.org/hook"}, RequestID: "r1",
		}, w.service.Request(e.GetEgressId())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		again, err := client.StartDataEgress(ctx, req)
		if diff := cmp.Diff(e, again, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: repeated start: %v %s", name, err, diff)
		}
		stopped, err := client.StopDataEgress(ctx,
			&dataegress.StopDataEgressRequest{EgressId: e.GetEgressId()})
		if err != nil || stopped.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
			t.Errorf("%s: stop: %v, %v", name, stopped, err)
		}
		w.service.Deliver("a", e.GetEgressId())
		ended, err := client.StopDataEgress(ctx,
			&dataegress.StopDataEgressRequest{EgressId: e.GetEgressId()})
		if err != nil || ended.GetStatus() != livekit.EgressStatus_EGRESS_COMPLETE {
			t.Errorf("%s: second stop: %v, %v", name, ended, err)
		}
		list, err := client.ListDataEgress(ctx, &dataegress.ListDataEgressRequest{})
		if diff := cmp.Diff([]*livekit.EgressInfo{ended}, list.GetItems(),
			protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: list: %v %s", name, err, diff)
		}
		s, err := client.GetStatement(ctx,
			&dataegress.GetStatementRequest{EgressId: e.GetEgressId()})
		if err != nil || !s.GetFinal() || s.GetPackets() != 42 ||
			s.GetManifestLocation() != ended.GetManifestLocation() {
			t.Errorf("%s: statement: %v, %v", name, s, err)
		}
	}
}

// TestStartRefused: every rejection has its code, and states what to do.
func TestStartRefused(t *testing.T) {
	w := newWorld(t)
	recorded := w.start(keyA, "a", "recorded")
	w.service.OpenRoom("a", "room")
	many := make([]string, 101)
	for i := range many {
		many[i] = "x"
	}
	long := strings.Repeat("x", 1025)
	for what, tt := range map[string]struct {
		req  *dataegress.StartDataEgressRequest
		code twirp.ErrorCode
		says string
	}{
		"no room":           {&dataegress.StartDataEgressRequest{}, twirp.InvalidArgument, "room_name"},
		"absent room":       {&dataegress.StartDataEgressRequest{RoomName: "x"}, twirp.FailedPrecondition, `the room does not exist: "x"`},
		"recorded room":     {&dataegress.StartDataEgressRequest{RoomName: "recorded"}, twirp.AlreadyExists, recorded.GetEgressId()},
		"long room":         {&dataegress.StartDataEgressRequest{RoomName: long}, twirp.InvalidArgument, "room_name"},
		"long prefix":       {&dataegress.StartDataEgressRequest{RoomName: "room", Prefix: long}, twirp.InvalidArgument, "prefix"},
		"absolute prefix":   {&dataegress.StartDataEgressRequest{RoomName: "room", Prefix: "/x"}, twirp.InvalidArgument, "prefix"},
		"prefix upwards":    {&dataegress.StartDataEgressRequest{RoomName: "room", Prefix: "x/../y"}, twirp.InvalidArgument, "prefix"},
		"empty component":   {&dataegress.StartDataEgressRequest{RoomName: "room", Prefix: "x//y"}, twirp.InvalidArgument, "prefix"},
		"only a slash":      {&dataegress.StartDataEgressRequest{RoomName: "room", Prefix: "//"}, twirp.InvalidArgument, "prefix"},
		"long id":           {&dataegress.StartDataEgressRequest{RoomName: "room", RequestId: long[:129]}, twirp.InvalidArgument, "request_id"},
		"many topics":       {&dataegress.StartDataEgressRequest{RoomName: "room", Topics: many}, twirp.InvalidArgument, "topics"},
		"empty topic":       {&dataegress.StartDataEgressRequest{RoomName: "room", Topics: []string{""}}, twirp.InvalidArgument, "topics"},
		"many participants": {&dataegress.StartDataEgressRequest{RoomName: "room", Participants: many}, twirp.InvalidArgument, "participants"},
		"many webhooks":     {&dataegress.StartDataEgressRequest{RoomName: "room", Webhooks: many[:11]}, twirp.InvalidArgument, "webhooks"},
		"file URL":          {&dataegress.StartDataEgressRequest{RoomName: "room", Webhooks: []string{"file:///etc/passwd"}}, twirp.InvalidArgument, "webhooks"},
		"no host":           {&dataegress.StartDataEgressRequest{RoomName: "room", Webhooks: []string{"http:///x"}}, twirp.InvalidArgument, "webhooks"},
	} {
		for encoding, client := range w.both() {
			_, err := client.StartDataEgress(w.as(keyA, all), tt.req)
			wantError(t, encoding+", "+what, err, tt.code, tt.says)
		}
	}
	_, err := w.ours().StartDataEgress(w.as(keyA, all),
		&dataegress.StartDataEgressRequest{RoomName: "recorded"})
	var e twirp.Error
	if !errors.As(err, &e) || e.Meta("egress_id") != recorded.GetEgressId() {
		t.Errorf("the answer does not name the recording: %v", err)
	}
	if w.log.Len() > 0 && strings.Contains(w.log.String(), "failed") {
		t.Errorf("refusals are in the log: %s", w.log)
	}
}

// TestRequestID: an id cannot be reused for another request.
func TestRequestID(t *testing.T) {
	w := newWorld(t)
	w.service.OpenRoom("a", "1")
	w.service.OpenRoom("a", "2")
	ctx := w.as(keyA, all)
	first, err := w.ours().StartDataEgress(ctx,
		&dataegress.StartDataEgressRequest{RoomName: "1", RequestId: "id"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.ours().StartDataEgress(ctx,
		&dataegress.StartDataEgressRequest{RoomName: "2", RequestId: "id"})
	wantError(t, "same id", err, twirp.AlreadyExists, first.GetEgressId())
}

// TestErrors: errors of this package reach the caller; others are only logged.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	e := w.start(keyA, "a", "room")
	ctx := w.as(keyA, all)
	for _, tt := range []struct {
		err  error
		code twirp.ErrorCode
		says string
	}{
		{fmt.Errorf("%w: the disk is full", api.ErrLater), twirp.Unavailable, "disk is full"},
		{fmt.Errorf("%w: excluded", api.ErrRefused), twirp.FailedPrecondition, "excluded"},
		{fmt.Errorf("%w: a pattern", api.ErrInvalid), twirp.InvalidArgument, "a pattern"},
		{fmt.Errorf("ask LiveKit: %w", context.DeadlineExceeded), twirp.Unavailable, "repeat"},
		{errors.New("open /var/lib/x: permission denied"), twirp.Internal, "the log of textegress"},
	} {
		w.service.FailNext(nil, tt.err) // of List and Statement
		_, err := w.ours().GetStatement(ctx,
			&dataegress.GetStatementRequest{EgressId: e.GetEgressId()})
		wantError(t, tt.err.Error(), err, tt.code, tt.says)
		internal := tt.code == twirp.Internal
		if strings.Contains(fmt.Sprint(err), "/var/lib") ||
			strings.Contains(w.log.String(), "/var/lib") != internal {
			t.Errorf("%v: log %s", err, w.log)
		}
	}
}

// direct calls a method without a network, so that the call can run in a synctest bubble.
func direct(ctx context.Context, t *testing.T, h http.Handler, method, body string) (int, string) {
	req := httptest.NewRequestWithContext(ctx, http.MethodPost,
		"/twirp/textegress.DataEgress/"+method, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apitest.Token(t, keyA, all))
	resp := httptest.NewRecorder()
	h.ServeHTTP(resp, req)
	return resp.Code, resp.Body.String()
}

// TestWait: a request waits for its room, for as long as its connection allows.
func TestWait(t *testing.T) {
	const body = `{"room_name":"room","wait":true}`
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, service: apitest.New(), log: &strings.Builder{}}
		h := w.handler()
		begin := time.Now()
		code, answer := direct(t.Context(), t, h, "StartDataEgress", body)
		if code != 412 || !strings.Contains(answer, "failed_precondition") ||
			!strings.Contains(answer, "repeat the request") {
			t.Errorf("no room: %d %s", code, answer)
		}
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("waited %v", took)
		}
		go func() {
			time.Sleep(3500 * time.Millisecond)
			w.service.OpenRoom("a", "room")
		}()
		begin = time.Now()
		code, answer = direct(t.Context(), t, h, "StartDataEgress", body)
		if took := time.Since(begin); code != 200 || took != 4*time.Second {
			t.Errorf("after %v: %d %s", took, code, answer)
		}
	})
}

// TestWaitCancelled: a request stops waiting when its caller disconnects, and the number of waiting
// requests is limited.
func TestWaitCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, service: apitest.New(), log: &strings.Builder{}}
		h := w.handler()
		ctx, cancel := context.WithCancel(t.Context())
		codes := make(chan int)
		for i := range 16 {
			go func() {
				code, _ := direct(ctx, t, h, "StartDataEgress",
					fmt.Sprintf(`{"room_name":"%d","wait":true}`, i))
				codes <- code
			}()
		}
		synctest.Wait()
		code, answer := direct(t.Context(), t, h, "StartDataEgress",
			`{"room_name":"x","wait":true}`)
		if code != 429 || !strings.Contains(answer, "16 requests wait") {
			t.Errorf("the 17th: %d %s", code, answer)
		}
		cancel()
		for range 16 {
			if code := <-codes; code != 408 {
				t.Errorf("cancelled: %d", code)
			}
		}
		if strings.Contains(w.log.String(), "failed") {
			t.Errorf("log: %s", w.log)
		}
	})
}
