package erasure

import (
	"context"
	"errors"
	"testing"

	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// TestPlanEndsWithItsContext: a long recording must not delay the end of the service.
func TestPlanEndsWithItsContext(t *testing.T) {
	sp, err := spool.OpenReadOnly("../render/testdata/spool")
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	for _, rec := range sp.Recordings() {
		src := render.FromSpool(rec)
		if _, err := newErasePlan(t.Context(), src, decode.Options{}, "bob"); err != nil {
			t.Fatal(err)
		}
		stopped := errors.New("stopped by a signal")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stopped)
		if _, err := newErasePlan(ctx, src, decode.Options{}, "bob"); !errors.Is(err, stopped) {
			t.Error(err)
		}
	}
}
