package stack

import (
	"testing"
)

// TestStackKeepsItsFolder stops a stack in order and starts it again where it was.
func TestStackKeepsItsFolder(t *testing.T) {
	ctx, o := t.Context(), Options{Dir: t.TempDir(), NoRabbitMQ: true}
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	p := s.SyncFlow.Projects[0]
	x, err := s.SyncFlow.CreateSession(ctx, p, "kept")
	if err != nil {
		t.Error(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if s.LiveKit.Running() || s.S3.Running() || s.SyncFlow.Running() {
		t.Error("something still runs")
	}
	if s, err = Start(ctx, o); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	if s.SyncFlow.Projects[0] != p {
		t.Errorf("project %v, before %v", s.SyncFlow.Projects[0], p)
	}
	if l, err := s.SyncFlow.Sessions(ctx, p); err != nil || len(l) != 1 || l[0].ID != x.ID {
		t.Errorf("sessions %v, %v", l, err)
	}
}
