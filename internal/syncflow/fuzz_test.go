package syncflow_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/syncflow"
)

// constant answers every request with the same bytes.
type constant struct {
	status int
	body   string
}

func (c constant) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: c.status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(c.body)), Request: r,
	}, nil
}

// FuzzAnswers gives the client any answer to any of its questions: it must not panic, not go on for
// ever, not take nonsense for an answer, and not show the token it may have been given.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"id":"p","name":"Study/1","livekitServerUrl":"wss://x","bucketName":"b","endpoint":"e"}`,
		`[{"id":"c1d2e3f4-0000-4000-8000-000000000001","name":"class","livekitRoomName":"room","projectId":"p","status":"Started","startedAt":1750000000}]`,
		`{"id":"s","livekitRoomName":"r","status":"Stopped","startedAt":"soon"}`,
		`[{"id":"d","name":"text-egress","group":"text-egress","registeredAt":1e400,"sessionNotificationExchangeName":"x","sessionNotificationBindingKey":"k"}, null, 7]`,
		`{"token":"eyJhbGciOi.secret","livekitServerUrl":"ws://x"}`,
		`{"status":500,"message":"Record not found"}`, `{"message":null}`, `{"message":{"a":1}}`,
		"Bad Gateway\r\n\x00\x1b[2J",
		`[]`, `null`, `{}`, ``, `[[[[`, `{"id":"\ud800"}`, "\xff\xfe",
		`{"startedAt":-99999999999999999999}`,
	} {
		for _, status := range []int{200, 400, 401, 404, 500} {
			f.Add(status, body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 || len(body) > 1<<16 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c, err := syncflow.New(syncflow.Options{
				BaseURL: "http://syncflow.test", Key: "aB3dE6gH9k", Secret: secretKey,
				ProjectID:  projectID,
				HTTPClient: &http.Client{Transport: constant{status, body}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			check := func(what string, err error) {
				t.Helper()
				switch {
				case err == nil && status != 200:
					t.Errorf("%s: status %d is a success", what, status)
				case errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%s does not end", what)
				case err != nil && (strings.ContainsAny(err.Error(), "\x00\x1b\r\n") ||
					strings.Contains(err.Error(), secretKey)):
					t.Errorf("%s: %q", what, err)
				}
			}
			p, err := c.Project(ctx)
			check("project", err)
			if err == nil && p.ID == "" {
				t.Error("a project without an id")
			}
			s, err := c.Session(ctx, sessionID)
			check("session", err)
			if err == nil && s.ID == "" {
				t.Error("a session without an id")
			}
			list, err := c.Sessions(ctx)
			check("sessions", err)
			for _, s := range list {
				if s.ID == "" {
					t.Error("a session without an id in the list")
				}
			}
			d, err := c.EnsureDevice(ctx, "text-egress", "text-egress")
			check("device", err)
			if err == nil && (d.ExchangeName == "" || d.BindingKey == "") {
				t.Errorf("a device without its binding: %+v", d)
			}
			tok, err := c.Token(ctx, sessionID, "room", "identity")
			check("token", err)
			if err == nil && (tok.JWT == "" || tok.URL == "") {
				t.Error("half a token")
			}
		})
	})
}
