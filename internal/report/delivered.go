package report

import (
	"context"
	"fmt"
	"io"

	"github.com/syncflow/textegress"
)

// Delivered writes the report of a delivered recording, from its manifest and events.jsonl. Of a
// recording that was delivered with one it is the same.
func Delivered(ctx context.Context, rec *textegress.Recording, w io.Writer) error {
	r := New()
	for m, err := range rec.Messages() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		r.Add(&m)
	}
	return r.Write(w, rec.Manifest())
}
