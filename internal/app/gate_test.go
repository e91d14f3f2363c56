package app_test

import (
	"testing"
	"time"
)

// All projects of a server together have one request to SyncFlow under way.
func TestProjectsTakeTurnsAtSyncFlow(t *testing.T) {
	w := newWorld(t)
	w.syncflow.takes = 50 * time.Millisecond
	w.env(w.directory(0, projectA, "a"), w.directory(1, projectB, "b"))
	w.start()
	w.eventually("both projects are ready", func() bool {
		return w.app.Status().Ready && w.project(projectA).State == "running" &&
			w.project(projectB).State == "running"
	})
	if most := w.syncflow.most.Load(); most != 1 {
		t.Errorf("%d requests at once", most)
	}
}
