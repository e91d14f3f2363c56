package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/syncflow"
)

// fakeDevices remembers, in order, what was done to the devices and the queue.
type fakeDevices struct {
	list   []syncflow.Device
	fail   error // of every deletion of a device
	listed error
	done   []string
}

func (f *fakeDevices) Devices(context.Context) ([]syncflow.Device, error) {
	return slices.Clone(f.list), f.listed
}

func (f *fakeDevices) DeleteDevice(_ context.Context, id string) error {
	f.done = append(f.done, "device "+id)
	return f.fail
}

func TestDeregister(t *testing.T) {
	ours := syncflow.Device{ID: "1", Name: "text-egress", Group: "g"}
	double := syncflow.Device{ID: "2", Name: "text-egress", Group: "g"}
	other := syncflow.Device{ID: "3", Name: "someone", Group: "g"}
	otherGroup := syncflow.Device{ID: "4", Name: "text-egress", Group: "h"}
	broker := errors.New("broker is down")
	for name, tt := range map[string]struct {
		list          []syncflow.Device
		force         bool
		listed, fail  error
		queue         error
		done          []string
		report, error string // contained
	}{
		"last of the group": {
			list:  []syncflow.Device{ours, otherGroup},
			error: "--force",
		},
		"last of the group, twice": {
			list:  []syncflow.Device{ours, double},
			error: "--force",
		},
		"last of the group, forced": {
			list: []syncflow.Device{ours, otherGroup}, force: true,
			done: []string{"queue", "device 1"}, report: "device deleted",
		},
		"others are left": {
			list: []syncflow.Device{ours, other, otherGroup},
			done: []string{"queue", "device 1"}, report: "queue deleted",
		},
		"all rows of ours": {
			list: []syncflow.Device{ours, double, other},
			done: []string{"queue", "device 1", "device 2"}, report: "2 devices",
		},
		"nothing registered": {
			list: []syncflow.Device{otherGroup},
			done: []string{"queue"}, report: "no device was registered",
		},
		"deleted meanwhile": {
			list: []syncflow.Device{ours, other},
			fail: syncflow.ErrNotFound, done: []string{"queue", "device 1"},
			report: "device deleted",
		},
		"the queue cannot be deleted": {
			list: []syncflow.Device{ours, other}, queue: broker,
			done: []string{"queue"}, error: "broker is down",
		},
		"the device cannot be deleted": {
			list: []syncflow.Device{ours, other},
			fail: errors.New("500"), done: []string{"queue", "device 1"},
			error: "the queue is deleted, the device is not: 500",
		},
		"the devices cannot be looked at": {
			listed: errors.New("timeout"), force: true,
			error: "timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeDevices{list: tt.list, fail: tt.fail, listed: tt.listed}
			report, err := deregister(t.Context(), f, "g", tt.force, func(context.Context) error {
				f.done = append(f.done, "queue")
				return tt.queue
			})
			if diff := cmp.Diff(tt.done, f.done); diff != "" {
				t.Errorf("what was done:\n%s", diff)
			}
			if (err != nil) != (tt.error != "") || err != nil &&
				!strings.Contains(err.Error(), tt.error) {
				t.Errorf("error %v, want %q in it", err, tt.error)
			}
			if !strings.Contains(report, tt.report) {
				t.Errorf("report %q, want %q in it", report, tt.report)
			}
		})
	}
}
