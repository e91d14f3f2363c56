package syncflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestRegistrationThatFailedButTookEffectIsAdopted(t *testing.T) {
	for name, ft := range map[string]fault{
		"status 500": {
			status: 500, body: `{"status":500,"message":"RabbitMQ failed"}`,
			done: true,
		},
		"no answer":       {status: -1, done: true},
		"page of a proxy": {status: 200, contentType: "text/html", body: "<html>", done: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c := f.client(t, f)
				f.fail(fault{}, ft) // the list is answered, the registration is not
				if _, err := c.EnsureDevice(t.Context(), "text-egress", "text-egress"); err != nil {
					t.Fatal(err)
				}
				if len(f.devices) != 1 {
					t.Errorf("%d rows: %v", len(f.devices), f.log())
				}
			})
		})
	}
}

func TestRegistrationThatDidNotTakeEffectIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		f.fail(fault{}, fault{status: 500, body: `{"status":500,"message":"RabbitMQ failed"}`})
		if _, err := c.EnsureDevice(t.Context(), "text-egress", "text-egress"); err != nil {
			t.Fatal(err)
		}
		if len(f.devices) != 1 {
			t.Errorf("%d rows: %v", len(f.devices), f.log())
		}
	})
}

func TestTheOldestDeviceIsAdopted(t *testing.T) {
	f := newFake(t)
	for _, d := range []struct {
		id, name, group string
		at              any
	}{
		{"c", "text-egress", "g", 30},
		{"a", "text-egress", "other", 1},
		{"b", "other", "g", 2},
		{"d", "text-egress", "g", "20"},
	} {
		f.devices = append(f.devices, map[string]any{
			"id": d.id, "name": d.name, "group": d.group, "registeredAt": d.at,
			"sessionNotificationExchangeName": "x", "sessionNotificationBindingKey": "k",
		})
	}
	d, err := f.client(t, f).EnsureDevice(t.Context(), "text-egress", "g")
	if err != nil || d.ID != "d" {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestAnnounces: whether the API can announce sessions shows in a registration, of which nothing is
// left.
func TestAnnounces(t *testing.T) {
	for name, tc := range map[string]struct {
		ft   *fault
		want bool
	}{
		"it does": {nil, true},
		"its connection died": {&fault{
			status: 500,
			body:   `{"status":500,"message":"RabbitMQ error"}`, done: true,
		}, false},
		"no answer": {&fault{status: -1, done: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c := f.client(t, f)
				if _, err := c.EnsureDevice(t.Context(), "text-egress", "g"); err != nil {
					t.Fatal(err)
				}
				if tc.ft != nil {
					f.fail(*tc.ft)
				}
				got, err := c.Announces(t.Context(), "g")
				if got != tc.want || (err == nil) != tc.want {
					t.Errorf("%v, %v, want %v", got, err, tc.want)
				}
				if len(f.devices) != 1 || f.devices[0]["name"] != "text-egress" {
					t.Errorf("left behind: %v", f.devices)
				}
			})
		})
	}
}

// TestAnnounces_Stop: a stop of the service does not wait for an API that stalls. A class is not
// recorded until the next start, which looks again.
func TestAnnounces_Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.hold = make(chan struct{})
		defer close(f.hold)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if does, err := f.client(t, f).Announces(ctx, "g"); does || err == nil {
			t.Errorf("%v, %v", does, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it returned after %v", took)
		}
	})
}
