package follow

import (
	"context"
	"testing"

	"github.com/syncflow/textegress/internal/spool"
)

// TestCatchUp: after CatchUp, Ready counts the lines that were durable before, also if there are
// none, and if the reader is closed meanwhile.
func TestCatchUp(t *testing.T) {
	w := newWorld(t, decodingMode{}, spool.Options{SyncInterval: quiet})
	none := w.follow(1)
	none.CatchUp(t.Context())
	if n := none.Ready(); n != 0 {
		t.Errorf("%d lines of an empty recording", n)
	}
	if err := none.Close(); err != nil {
		t.Fatal(err)
	}
	none.CatchUp(t.Context())

	other := newWorld(t, decodingMode{}, spool.Options{SyncInterval: quiet})
	other.append(texts(7, 0)...)
	if err := other.w.Sync(); err != nil {
		t.Fatal(err)
	}
	r := other.follow(5)
	r.CatchUp(t.Context())
	if n := r.Ready(); n != 7 {
		t.Errorf("%d lines are ready, want 7", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	other.append(texts(3, 7)...)
	if err := other.w.Sync(); err != nil {
		t.Fatal(err)
	}
	again := other.follow(5) // nobody followed meanwhile
	again.CatchUp(t.Context())
	if n := again.Ready(); n != 10 {
		t.Errorf("%d lines are ready, want 10", n)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	again.CatchUp(over)
}
