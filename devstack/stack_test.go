package devstack

import (
	"testing"
)

func TestStackStarts(t *testing.T) {
	d, err := shared.SyncFlow.RegisterDevice(t.Context(), shared.SyncFlow.Projects[0], "text-egress", "text-egress")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(d)
	x, err := shared.SyncFlow.CreateSession(t.Context(), shared.SyncFlow.Projects[0], "class-1", "text-egress")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(x)
	t.Log(shared.SyncFlow.StopSession(t.Context(), shared.SyncFlow.Projects[0], x.ID))
	t.Log(shared.SyncFlow.Counters(t.Context()))
	t.Log(shared.Env())
}
