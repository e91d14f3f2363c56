package syncflow_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

func TestUnauthorized(t *testing.T) {
	refusal := fault{
		status: 401,
		body:   `{"status":401,"message":"Invalid token, please login again"}`,
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		// Two refusals may be a failing database of the API.
		f.fail(refusal, refusal)
		if _, err := c.Project(t.Context()); err != nil {
			t.Errorf("after two refusals: %v", err)
		}
		f.fail(refusal, refusal, refusal)
		_, err := c.Project(t.Context())
		if !errors.Is(err, session.ErrUnauthorized) || !strings.Contains(err.Error(), "clock") {
			t.Errorf("error %v", err)
		}
	})
}

func TestProjectTokensAreFreshAndApiTokensAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		seen := map[string]bool{}
		c := f.client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			seen[r.Header.Get("Authorization")] = true
			return f.RoundTrip(r)
		}))
		// two hours of a request every ten minutes; the fake refuses an expired token
		for range 12 {
			if _, err := c.Project(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if len(seen) != 3 || len(f.log()) != 12 {
			t.Errorf("%d tokens and %d requests in two hours, want 3 and 12", len(seen),
				len(f.log()))
		}
		a, _ := c.ProjectToken(t.Context())
		time.Sleep(time.Second)
		b, err := c.ProjectToken(t.Context())
		if err != nil || a == b {
			t.Errorf("a project token was given twice, %v", err)
		}
		got, err := claims(b)
		if err != nil || fmt.Sprint(got["exp"]) != fmt.Sprint(time.Now().Add(time.Hour).Unix()) {
			t.Errorf("%v, %v", got, err)
		}
	})
}
