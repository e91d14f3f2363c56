package delivery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/render"
)

// TestNewViewLeavesPlansAlone: what an earlier version planned, with fewer views, is rendered again
// as it was. Only where a view has another version now does another revision begin.
func TestNewViewLeavesPlansAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		views    render.Views // that are rendered for the plan
		stated   render.Views // in the plan
		revision int
	}{
		"before views had versions": {render.FirstViews(), nil, 1},
		"fewer views":               {render.Views{"events": 1}, render.Views{"events": 1}, 1},
		"another version": {
			render.FirstViews(),
			render.Views{"events": 1, "text": 99},
			2,
		},
		"a view that is gone": {render.FirstViews(), render.Views{"events": 1, "gone": 1}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1")
				rec := w.record("p1", id)
				m, err := render.Build(t.Context(), render.FromSpool(rec),
					render.Options{Views: tt.views}, render.NewDiscardSink(0))
				if err != nil {
					t.Fatal(err)
				}
				plan, err := delivery.NewPlan(rec.Info(), m)
				if err != nil {
					t.Fatal(err)
				}
				plan.Views = tt.stated
				if err := plan.Save(rec); err != nil {
					t.Fatal(err)
				}
				w.watch(nil)
				w.run()
				settle(time.Minute)
				w.delivered(id, tt.revision)
				delivered, _, err := delivery.LoadPlan(rec)
				if err != nil {
					t.Fatal(err)
				}
				if tt.revision == 1 && !delivered.Equal(plan) {
					t.Errorf("delivered %+v, planned %+v", delivered, plan)
				}
				if tt.revision == 2 && len(delivered.Views) != len(render.CurrentViews()) {
					t.Errorf("the new plan has the views %v", delivered.Views)
				}
				w.shutDown()
			})
		})
	}
}

// TestDeliverReturnsTheCause: the error of Deliver can be examined, and its text names nobody.
func TestDeliverReturnsTheCause(t *testing.T) {
	w := newWorld(t, true, "p1")
	rec := w.record("p1", id)
	w.watch(func(op, _ string) *objtest.Fault {
		if op == "upload" {
			return &objtest.Fault{Err: &objstore.Error{
				Op: "upload", Key: "secret-alice", Cause: "HTTP 403, AccessDenied", Permanent: true,
			}}
		}
		return nil
	})
	err := w.up.Deliver(t.Context(), rec)
	if e, ok := errors.AsType[*objstore.Error](err); !ok || !e.Permanent {
		t.Errorf("%v has no *objstore.Error in it", err)
	}
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") ||
		strings.Contains(err.Error(), "alice") {
		t.Errorf("the text is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.up.Deliver(ctx, rec); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
