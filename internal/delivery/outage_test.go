package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/spool"
)

// requests counts the calls of a bucket by the minute in which they came, and how many were under
// way at once.
type requests struct {
	mu        sync.Mutex
	perMinute map[int64]int
	busy      int
	most      int
}

func (r *requests) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.perMinute[time.Now().Unix()/60]++
	r.busy++
	r.most = max(r.most, r.busy)
}

func (r *requests) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy--
}

// sum returns the number of requests so far, and that of the worst minute.
func (r *requests) sum() (total, worst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.perMinute {
		total += n
		worst = max(worst, n)
	}
	return total, worst
}

// TestADayOfOutage lets a store fail for a day in which hundreds of recordings are sealed, also
// before a restart. Nobody asks it more often for it; then all are delivered, the oldest first, by
// one request at a time.
func TestADayOfOutage(t *testing.T) {
	for name, answer := range map[string]*objstore.Error{
		"server errors":     {Cause: "HTTP 500, InternalError"},
		"wrong credentials": {Cause: "HTTP 403, SignatureDoesNotMatch", Permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { dayOfOutage(t, answer) })
		})
	}
}

func dayOfOutage(t *testing.T, answer *objstore.Error) {
	const latency = 50 * time.Millisecond
	recordings := 300
	if stride() > 1 {
		recordings = 60
	}
	w := newWorld(t, true, "p1")
	r := &requests{perMinute: map[int64]int{}}
	var down atomic.Bool
	var order []string // of the manifests
	down.Store(true)
	w.buckets["p1"].SetFault(func(op, key string) *objtest.Fault {
		r.begin()
		slow := func(ctx context.Context) error {
			defer r.end()
			return backoff.Sleep(ctx, latency)
		}
		if down.Load() {
			return &objtest.Fault{Err: answer, Wait: slow}
		}
		if op == "upload" && strings.HasSuffix(key, "manifest.json") {
			order = append(order, key)
		}
		return &objtest.Fault{Applied: true, Wait: slow}
	})
	w.run()
	var ids []string
	for i := range recordings {
		ids = append(ids, fmt.Sprintf("DE_%012d", i))
		w.record("p1", ids[i])
		w.up.Wake()
		settle(24 * time.Hour / time.Duration(recordings))
		if i == recordings/2 {
			w.restart() // nobody remembers that the store is down
			settle(0)
		}
	}
	// A single recording would be tried 12 to 24 times an hour. After a start and when the first
	// one fails it is quicker.
	total, worst := r.sum()
	t.Logf("while it was down: %d requests in a day, at most %d within a minute", total, worst)
	if total > 24*24+40 || worst > 10 {
		t.Errorf("%d requests in a day and %d in the worst minute are too many", total, worst)
	}
	if total < 24*12 {
		t.Errorf("%d requests in a day: the end of the outage would be noticed late", total)
	}
	down.Store(false)
	settle(5 * time.Minute) // the longest pause
	start := time.Now()
	for w.up.Snapshot().Projects["p1"].Pending > 0 && time.Since(start) < time.Hour {
		settle(time.Second)
	}
	for _, id := range ids {
		if s := w.rec(id).State(); s != spool.StateUploaded {
			t.Fatalf("%s is %s an hour after the outage\n%s", id, s, w.log())
		}
	}
	if r.most != 1 {
		t.Errorf("%d requests at once", r.most)
	}
	// The one whose turn it was comes first, then the oldest.
	if len(order) != recordings || !slices.IsSorted(order[1:]) {
		t.Errorf("%d manifests, sorted %v", len(order), slices.IsSorted(order[1:]))
	}
	w.check()
	w.shutDown()
}

// A recording which fails by itself, for the store refuses its keys, does not stand before the
// others.
func TestARefusedRecordingDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(func(op, key string) *objtest.Fault {
			if op == "upload" && strings.Contains(key, id) {
				return &objtest.Fault{Err: &objstore.Error{
					Cause:     "HTTP 400, KeyTooLongError",
					Permanent: true,
				}}
			}
			return nil
		})
		w.record("p1", id) // the oldest
		for i := range 5 {
			w.record("p1", fmt.Sprintf("DE_00000000001%d", i))
		}
		w.run()
		settle(10 * time.Second)
		for i := range 5 {
			w.delivered(fmt.Sprintf("DE_00000000001%d", i), 1)
		}
		settle(time.Hour)
		w.record("p1", "DE_000000000020")
		w.up.Wake()
		settle(5 * time.Minute)
		w.delivered("DE_000000000020", 1)
		w.watch(nil)
		settle(6 * time.Minute)
		w.delivered(id, 1)
		w.shutDown()
	})
}

func TestRetryAfter(t *testing.T) {
	for wanted, want := range map[time.Duration]time.Duration{
		time.Minute:    time.Minute,
		24 * time.Hour: 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, true, "p1")
			var at []time.Time
			w.watch(func(string, string) *objtest.Fault {
				at = append(at, time.Now())
				if len(at) == 1 {
					return &objtest.Fault{Err: &objstore.Error{
						Cause:      "HTTP 503, SlowDown",
						RetryAfter: wanted,
					}}
				}
				return nil
			})
			w.record("p1", id)
			w.run()
			settle(time.Second)
			w.record("p1", "DE_000000000002") // must not ask either
			w.up.Wake()
			settle(20 * time.Minute)
			w.delivered(id, 1)
			w.delivered("DE_000000000002", 1)
			if pause := at[1].Sub(at[0]); pause != want {
				t.Errorf("asked to wait for %v, it waited for %v, want %v", wanted, pause, want)
			}
			w.shutDown()
		})
	}
}

// TestTheBucketIsChangedMeanwhile gives a project another bucket in the middle of a delivery:
// everything must be in the new one, also what was verified in the old one.
func TestTheBucketIsChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		old := w.buckets["p1"]
		old.SetFault(func(op, key string) *objtest.Fault {
			if op == "upload" && strings.HasSuffix(key, "metadata.json") {
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		w.record("p1", id)
		w.run()
		settle(time.Minute)
		if len(old.Objects()) == 0 {
			t.Fatal("nothing was verified in the old bucket")
		}
		w.mu.Lock()
		w.buckets["p1"] = objtest.NewMemory("another", true)
		w.mu.Unlock()
		w.up.Retry("p1")
		settle(0)
		w.delivered(id, 1)
		w.shutDown()
	})
}

func TestRetentionIsChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(nil)
		w.record("p1", id)
		w.run()
		settle(time.Hour)
		if s := w.rec(id).State(); s != spool.StateUploaded {
			t.Fatalf("state %s", s)
		}
		w.up.SetRetention(2 * time.Hour)
		settle(0)
		if s := w.rec(id).State(); s != spool.StateUploaded {
			t.Errorf("after 1 of 2 hours: %s", s)
		}
		w.up.SetRetention(30 * time.Minute)
		settle(0)
		if s := w.rec(id).State(); s != spool.StateRemoved {
			t.Errorf("after 1 of ½ hours: %s", s)
		}
		w.shutDown()
	})
}

// TestAnObjectThatIsDamagedInTheStore changes an object of the same size after its upload and
// before it is verified.
func TestAnObjectThatIsDamagedInTheStore(t *testing.T) {
	for name, checksums := range map[string]bool{"checksum": true, "read back": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, checksums, "p1")
				damaged := false
				w.watch(func(op, key string) *objtest.Fault {
					if data := w.buckets["p1"].Objects()[key]; op == "stat" && len(data) > 0 &&
						strings.HasSuffix(key, "events.jsonl") && !damaged {
						damaged = true
						rotten := slices.Clone(data)
						rotten[len(rotten)/2] ^= 1
						w.mu.Lock()
						delete(w.correct, "p1 "+key)
						w.mu.Unlock()
						w.buckets["p1"].Put(key, rotten)
					}
					return nil
				})
				w.record("p1", id)
				w.run()
				settle(0)
				if s := w.rec(id).State(); s == spool.StateUploaded || !damaged {
					t.Fatalf("damage (%v) was not noticed: %s", damaged, s)
				}
				settle(time.Minute)
				w.delivered(id, 1)
				w.shutDown()
			})
		})
	}
}

func TestDrainEndsWithItsContextInTheMiddleOfAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(func(op, _ string) *objtest.Fault {
			if op == "upload" {
				return &objtest.Fault{Wait: untilItEnds}
			}
			return nil
		})
		rec := w.record("p1", id)
		w.record("p1", "DE_000000000002")
		w.run()
		settle(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := w.up.Drain(ctx)
		if err == nil || !strings.Contains(err.Error(), "2 recordings") ||
			time.Since(start) != time.Minute {
			t.Errorf("Drain = %v after %v, want 2 recordings left after a minute", err,
				time.Since(start))
		}
		if errors.Is(err, context.Canceled) {
			t.Errorf("Drain = %v", err)
		}
		w.shutDown()
		if _, err := os.Stat(rec.Dir()); err != nil {
			t.Error(err)
		}
		w.boot()
		w.watch(nil)
		w.run()
		settle(time.Minute)
		w.delivered(id, 1)
		w.delivered("DE_000000000002", 1)
		w.shutDown()
	})
}

// A state file that the disk has damaged keeps nothing from being delivered.
func TestDamagedExportJSONBeginsARevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.buckets["p1"].SetFault(func(op, key string) *objtest.Fault {
			if op == "upload" && strings.HasSuffix(key, "metadata.json") {
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		rec := w.record("p1", id)
		w.run()
		settle(time.Second)
		before := w.buckets["p1"].Objects()
		w.shutDown()
		path := rec.Dir() + "/export.json"
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		w.boot()
		w.buckets["p1"].SetFault(nil)
		w.run()
		settle(time.Minute)
		w.delivered(id, 2)
		for key, was := range before {
			if !slices.Equal(w.buckets["p1"].Objects()[key], was) {
				t.Errorf("%s was changed", key)
			}
		}
		w.shutDown()
	})
}
