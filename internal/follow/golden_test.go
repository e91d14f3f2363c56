package follow

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// modes are the ways in which the golden recordings are decoded.
func modes(t *testing.T) map[string]decodingMode {
	t.Helper()
	keys, err := render.NewKeys([]byte("a shared secret")) // of the golden recording of all kinds
	if err != nil {
		t.Fatal(err)
	}
	return map[string]decodingMode{
		"plain": {}, "keys": {keys: keys}, "pseudonyms": {keys: keys, pseudonyms: true},
	}
}

// TestFollow_Cut: a recording that ends after any frame of a golden recording is followed while it
// is recorded, while it is sealed and afterwards. The lines are those of its events.jsonl.
func TestFollow_Cut(t *testing.T) {
	for id, frames := range goldens(t) {
		for name, mode := range modes(t) {
			t.Run(fmt.Sprint(id, " ", name), func(t *testing.T) {
				t.Parallel()
				for n := range len(frames) + 1 {
					w := newWorld(t, mode, spool.Options{SegmentSize: 1500})
					live, middle := w.follow(0), w.follow(int64(n/3+1))
					half := n / 2
					w.append(frames[:half]...)
					w.append(frames[half:n]...)
					w.seal()
					want := w.events()
					if diff := cmp.Diff(want, rest(t, live)); diff != "" {
						t.Fatalf("%d frames (-events.jsonl +followed):\n%s", n, diff)
					}
					wantMiddle := want[min(n/3, len(want)):]
					if got := rest(t, middle); !slices.Equal(got, wantMiddle) {
						t.Fatalf("%d frames, from line %d: %d lines, want %d", n, n/3+1, len(got),
							len(wantMiddle))
					}
					again := w.follow(int64(len(want)))
					if got := rest(t, again); !slices.Equal(got, want[max(len(want)-1, 0):]) {
						t.Fatalf("%d frames, from the last line: %d lines", n, len(got))
					}
					w.close()
					w.open() // a hub that has decoded nothing
					if rec, ok := w.sp.Recording(testID); ok {
						w.rec = rec
					}
					if got := rest(t, w.follow(1)); !slices.Equal(got, want) {
						t.Fatalf("%d frames, after the seal: %d lines, want %d", n, len(got),
							len(want))
					}
				}
			})
		}
	}
}

// TestFollow_Grow: each frame of the golden recordings becomes durable on its own, and its lines
// are there before the next one. Killing the process after any frame changes no line.
func TestFollow_Grow(t *testing.T) {
	for id, frames := range goldens(t) {
		for name, mode := range modes(t) {
			for _, kill := range []bool{false, true} {
				t.Run(fmt.Sprint(id, " ", name, " kill ", kill), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, mode, spool.Options{SegmentSize: 1000})
					r, got := w.follow(0), []string(nil)
					counter := lineCounter(t, w.rec.Info(), mode)
					for _, f := range frames {
						w.append(f)
						if n := counter(f); n > len(got) {
							got = append(got, read(t, r, int64(n))...)
						}
						if kill {
							w.restart()
							r = w.follow(int64(len(got) + 1))
						}
					}
					w.seal()
					got = append(got, rest(t, r)...)
					if diff := cmp.Diff(w.events(), got); diff != "" {
						t.Errorf("(-events.jsonl +followed):\n%s", diff)
					}
				})
			}
		}
	}
}
