package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/spool"
)

const id = "DE_000000000001"

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(nil)
		w.record("p1", id)
		w.run()
		settle(0)
		w.delivered(id, 1)
		calls := w.buckets["p1"].Calls()
		manifest := slices.Index(calls, "upload "+w.rec(id).Info().KeyPrefix+
			textegress.ManifestName)
		for i, c := range calls {
			if strings.HasPrefix(c, "upload") && i > manifest {
				t.Errorf("%s came after the manifest", c)
			}
		}
		for key := range w.buckets["p1"].Objects() {
			if ct := w.buckets["p1"].ContentType(key); ct == "" {
				t.Errorf("%s has no content type", key)
			}
		}
		// A seal while it runs, with a hint.
		w.record("p1", "DE_000000000002")
		w.up.Wake()
		settle(0)
		w.delivered("DE_000000000002", 1)
		// And without one.
		w.record("p1", "DE_000000000003")
		settle(30 * time.Second)
		w.delivered("DE_000000000003", 1)
		w.shutDown()
	})
}

// stride thins out a table: every stride-th row is run, and which one it begins with differs from
// case to case, so that together the cases hit each row.
func stride() int {
	if raceDetector || testing.Short() {
		return 5
	}
	return 1
}

// TestFaults fails each call of a delivery in every way, before and after it took effect, and goes
// on in the same process or in the next one.
func TestFaults(t *testing.T) {
	cases := 0
	for _, checksums := range []bool{true, false} {
		total := countCalls(t, checksums)
		for _, name := range slices.Sorted(maps.Keys(faults)) {
			for _, applied := range []bool{false, true} {
				f := faults[name]
				if applied && (f.MidBody || f.Damage != nil) {
					continue // took effect by itself, or cannot have
				}
				if !checksums && !f.MidBody && f.Damage == nil {
					continue // reading back changes nothing for a call that fails as a whole
				}
				f.Applied = applied
				for _, restart := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, applied %v, restart %v, checksums %v", name, applied,
						restart, checksums), func(t *testing.T) {
						cases++
						for k := cases % stride(); k < total; k += stride() {
							synctest.Test(t, func(t *testing.T) {
								failAt(t, checksums, k, f,
									restart)
							})
						}
					})
				}
			}
		}
	}
}

func countCalls(t *testing.T, checksums bool) (n int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, checksums, "p1")
		w.record("p1", id)
		w.run()
		settle(0)
		w.delivered(id, 1)
		n = len(w.buckets["p1"].Calls())
		w.shutDown()
	})
	return n
}

func failAt(t *testing.T, checksums bool, k int, f objtest.Fault, restart bool) {
	w := newWorld(t, checksums, "p1")
	n, hit := 0, make(chan string, 1)
	w.watch(func(op, key string) *objtest.Fault {
		if n++; n-1 == k {
			hit <- op + " " + key
			return &f
		}
		return nil
	})
	w.record("p1", id)
	w.run()
	what := <-hit
	defer func() {
		if t.Failed() {
			t.Logf("the failed call was number %d: %s\n%s", k, what, w.log())
		}
	}()
	settle(3 * time.Minute)
	if restart {
		w.restart()
	} else {
		settle(10 * time.Minute)
	}
	settle(time.Second)
	w.check()
	// Only bytes that a lying store kept of an upload make a second revision, and only if nobody
	// remembers that upload.
	revision := 1
	if f, _, _ := delivery.LoadPlan(w.rec(id)); f.Revision > 1 {
		if !restart {
			t.Errorf("revision %d", f.Revision)
		}
		revision = f.Revision
	}
	w.delivered(id, revision)
	// Doing it all again changes nothing.
	before := w.buckets["p1"].Objects()
	w.restart()
	settle(time.Minute)
	if after := w.buckets["p1"].Objects(); !slices.Equal(keys(before), keys(after)) {
		t.Errorf("a further start changed the bucket: %q, %q", keys(before), keys(after))
	}
	w.shutDown()
}

// TestKilledAtEveryCall kills the process in the middle of each call, before and after it took
// effect.
func TestKilledAtEveryCall(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied %v", applied), func(t *testing.T) {
			for k := range countCalls(t, true) {
				if k%stride() != 0 && k > 3 {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, true, "p1")
					n := 0
					w.watch(func(string, string) *objtest.Fault {
						if n++; n-1 == k {
							return &objtest.Fault{Applied: applied, Err: transient}
						}
						if n-1 > k {
							return &objtest.Fault{Wait: untilItEnds}
						}
						return nil
					})
					w.record("p1", id)
					w.run()
					settle(0)
					w.watch(nil)
					os.RemoveAll(w.rec(id).StagingDir()) // it was not synced
					w.restart()
					settle(time.Minute)
					w.delivered(id, 1)
					w.shutDown()
				})
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		var at []time.Time
		var failing atomic.Bool
		failing.Store(true)
		w.watch(func(op, _ string) *objtest.Fault {
			if failing.Load() {
				at = append(at, time.Now())
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		w.record("p1", id)
		w.run()
		settle(2 * time.Hour)
		limit := time.Second
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < limit/2 || d > limit {
				t.Errorf("pause %d is %v, want between %v and %v", i, d, limit/2, limit)
			}
			limit = min(2*limit, 5*time.Minute)
		}
		if len(at) < 24 {
			t.Errorf("only %d attempts in two hours", len(at))
		}
		if n := strings.Count(w.log(), "recording is not delivered yet"); n < 10 || n > 30 {
			t.Errorf("%d lines about it in two hours", n)
		}
		s := w.up.Snapshot()
		if p := s.Projects["p1"]; p.Pending != 1 || !strings.Contains(p.LastError, "HTTP 500") ||
			p.FailingSince != at[0] || !p.NextAttempt.After(time.Now()) {
			t.Errorf("snapshot %+v", p)
		}
		if !strings.Contains(s.Errors[id], "HTTP 500") {
			t.Errorf("errors %q", s.Errors)
		}
		failing.Store(false)
		settle(5 * time.Minute)
		w.delivered(id, 1)
		if want := fmt.Sprintf("recovered_after_errors=%d", len(at)); !strings.Contains(w.log(),
			want) {
			t.Errorf("the log does not say %q", want)
		}
		if s := w.up.Snapshot(); len(s.Projects) != 0 || len(s.Errors) != 0 {
			t.Errorf("snapshot afterwards %+v", s)
		}
		w.shutDown()
	})
}

func TestWhatNeedsAPersonIsTriedWhenSettingsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.noBucket["p1"] = true
		w.record("p1", id)
		w.run()
		settle(time.Second)
		if e := w.up.Snapshot().Errors[id]; !strings.Contains(e, "not configured") {
			t.Errorf("error %q", e)
		}
		settle(time.Hour) // the pauses are minutes by now
		next := w.up.Snapshot().Projects["p1"].NextAttempt
		settle(time.Until(next) + time.Second)
		w.noBucket["p1"] = false
		settle(2 * time.Minute)
		w.up.Wake() // somebody else was sealed; that changes nothing here
		settle(0)
		if s := w.rec(id).State(); s != spool.StateSealed {
			t.Errorf("tried again too soon: %s", s)
		}
		w.up.Retry("p1")
		settle(0)
		w.delivered(id, 1)
		w.shutDown()
	})
}

func TestBrokenBucketDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "good", "broken")
		w.buckets["broken"].SetFault(func(string, string) *objtest.Fault {
			return &objtest.Fault{Wait: untilItEnds}
		})
		for i := range 5 {
			w.record("broken", fmt.Sprintf("DE_00000000001%d", i))
		}
		w.record("good", id)
		w.run()
		settle(0)
		w.delivered(id, 1)
		if p := w.up.Snapshot().Projects; p["broken"].Pending != 5 || p["good"].Pending != 0 {
			t.Errorf("snapshot %+v", p)
		}
		w.shutDown() // ends although a call hangs
	})
}

func TestOneBrokenRecordingDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		rec := w.record("p1", id)
		w.record("p1", "DE_000000000002")
		if err := os.Remove(filepath.Join(rec.Dir(), "recording.json")); err != nil {
			t.Fatal(err)
		}
		w.run()
		settle(time.Minute)
		w.delivered("DE_000000000002", 1)
		if e := w.up.Snapshot().Errors[id]; e == "" {
			t.Error("no error of the broken recording")
		}
		w.shutDown()
	})
}

func TestNothingIsDerivedWhileTheBucketIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(func(string, string) *objtest.Fault { return &objtest.Fault{Err: transient} })
		rec := w.record("p1", id)
		w.run()
		settle(time.Minute)
		if _, err := os.Stat(rec.StagingDir()); err == nil {
			t.Error("there is a staging directory")
		}
		w.shutDown()
	})
}

func TestAnUpgradeInTheMiddleBeginsARevision(t *testing.T) {
	for name, staged := range map[string]bool{
		"staging is still there": true,
		"staging is gone":        false,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1")
				w.watch(func(op, key string) *objtest.Fault {
					if strings.HasSuffix(key, "metadata.json") {
						return &objtest.Fault{Err: transient}
					}
					return nil
				})
				w.record("p1", id)
				w.run()
				settle(time.Second)
				before := w.buckets["p1"].Objects()
				if len(before) == 0 {
					t.Fatal("nothing was uploaded yet")
				}
				if !staged {
					os.RemoveAll(w.rec(id).StagingDir())
				}
				w.watch(nil)
				w.opts.Exporter = "textegress-export/next"
				w.restart()
				settle(time.Minute)
				revision := 2
				if staged {
					revision = 1 // the frozen bytes are at hand, so they are delivered
				}
				w.delivered(id, revision)
				after := w.buckets["p1"].Objects()
				for key, data := range before {
					if string(after[key]) != string(data) {
						t.Errorf("%s changed", key)
					}
				}
				w.shutDown()
			})
		})
	}
}

func TestForeignBytesUnderOurKeyAreNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		rec := w.record("p1", id)
		key := rec.Info().KeyPrefix + "events.jsonl"
		w.buckets["p1"].Put(key, []byte(foreign))
		w.run()
		settle(time.Minute)
		w.delivered(id, 2)
		if got := string(w.buckets["p1"].Objects()[key]); got != foreign {
			t.Errorf("overwritten with %q", got)
		}
		if o := w.buckets["p1"].Overwrites(); len(o) != 0 {
			t.Errorf("overwritten: %q", o)
		}
		w.shutDown()
	})
}

func TestAllKeysTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		rec := w.record("p1", id)
		for r := 1; r < 20; r++ {
			w.buckets["p1"].Put(delivery.Prefix(rec.Info(), r)+"events.jsonl", []byte(foreign))
		}
		w.run()
		revisions := func(when string) {
			t.Helper()
			if f, _, _ := delivery.LoadPlan(rec); f.Revision != 4 {
				t.Errorf("%s: revision %d, want 4", when, f.Revision)
			}
			s := w.up.Snapshot()
			if e := s.Errors[id]; !strings.Contains(e, "other content") ||
				!strings.Contains(e, "no further revision is made") {
				t.Errorf("%s: error %q", when, e)
			}
			if f := s.Projects["p1"].Failing; len(f) != 1 || f[0].EgressID != id ||
				f[0].Error != s.Errors[id] {
				t.Errorf("%s: failing %+v", when, f)
			}
		}
		settle(2 * time.Minute)
		revisions("after the first attempts")
		uploaded := len(w.buckets["p1"].Objects())
		settle(5 * time.Hour)
		revisions("after hours")
		w.restart()
		settle(time.Hour)
		revisions("after a restart")
		if n := len(w.buckets["p1"].Objects()); n != uploaded {
			t.Errorf("%d objects, and hours later %d", uploaded, n)
		}
		// When what is in the way is gone, it is delivered.
		if err := w.buckets["p1"].Delete(t.Context(), delivery.Prefix(rec.Info(), 4)+
			"events.jsonl"); err != nil {
			t.Fatal(err)
		}
		settle(6 * time.Minute)
		w.delivered(id, 4)
		w.shutDown()
	})
}

func TestDamagedStagingIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(func(op, key string) *objtest.Fault {
			if op == "upload" {
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		rec := w.record("p1", id)
		w.run()
		settle(time.Second)
		entries, err := os.ReadDir(rec.StagingDir())
		if err != nil || len(entries) < 3 {
			t.Fatalf("staging: %v, %v", entries, err)
		}
		if err := os.WriteFile(filepath.Join(rec.StagingDir(), "000001"), []byte("rotten"),
			0o600); err != nil {
			t.Fatal(err)
		}
		w.watch(nil)
		settle(10 * time.Minute)
		w.delivered(id, 1)
		w.shutDown()
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.shutDown()
		w.opts.Retention = 72 * time.Hour
		w.opts.Rescan = 10 * time.Minute // of fake time, of which weeks pass
		var held, dataHeld atomic.Bool
		held.Store(true)
		w.opts.Hold = func(rec *spool.Recording) bool { return rec.ID() == id && held.Load() }
		w.opts.HoldData = func(rec *spool.Recording) bool {
			return rec.ID() == id && dataHeld.Load()
		}
		delivered := 0
		w.opts.Delivered = func() { delivered++ }
		w.boot()
		w.watch(nil)
		w.record("p1", id)
		w.run()
		settle(time.Minute)
		w.delivered(id, 1)
		if delivered != 1 {
			t.Errorf("Delivered was called %d times", delivered)
		}
		settle(70 * time.Hour)
		if s := w.rec(id).State(); s != spool.StateUploaded {
			t.Errorf("after 70 hours: %s", s)
		}
		w.restart()
		dataHeld.Store(true)
		settle(3 * time.Hour)
		if s := w.rec(id).State(); s != spool.StateUploaded {
			t.Errorf("after 73 hours, although it is held: %s", s)
		}
		dataHeld.Store(false)
		settle(11 * time.Minute)
		if s := w.rec(id).State(); s != spool.StateRemoved {
			t.Errorf("after 73 hours: %s", s)
		}
		w.delivered(id, 1)
		settle(26 * 24 * time.Hour) // it is 30 days after the delivery
		if _, ok := w.sp.Recording(id); !ok {
			t.Error("forgotten too soon")
		}
		settle(24 * time.Hour)
		settle(24 * time.Hour)
		if _, ok := w.sp.Recording(id); !ok {
			t.Error("forgotten although it is held")
		}
		held.Store(false)
		settle(11 * time.Minute)
		if _, ok := w.sp.Recording(id); ok {
			t.Error("not forgotten")
		}
		w.shutDown()
	})
}

func TestNotDeliveredIsNotRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.shutDown()
		w.opts.Retention = 0
		w.opts.Rescan = time.Hour // of fake time, of which months pass
		w.boot()
		w.watch(func(op, _ string) *objtest.Fault {
			if op == "upload" {
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		w.record("p1", id)
		w.run()
		settle(7 * 24 * time.Hour)
		w.check()
		if s := w.rec(id).State(); s != spool.StateExported {
			t.Errorf("state %s", s)
		}
		w.watch(nil)
		settle(2 * time.Hour)
		if s := w.rec(id).State(); s != spool.StateRemoved {
			t.Errorf("delivered with retention 0: state %s", s)
		}
		w.shutDown()
	})
}

func TestDrain(t *testing.T) {
	for name, running := range map[string]bool{"while Run does": true, "without Run": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1", "p2", "down")
				w.watch(nil)
				w.buckets["down"].SetFault(func(string, string) *objtest.Fault {
					return &objtest.Fault{Err: transient}
				})
				n := 0
				w.buckets["p2"].SetFault(func(string, string) *objtest.Fault {
					if n++; n <= 3 {
						return &objtest.Fault{Err: transient}
					}
					return nil
				})
				if running {
					w.run()
				}
				w.record("p1", id)
				w.record("p1", "DE_000000000002")
				w.record("p2", "DE_000000000003")
				w.record("down", "DE_000000000004")
				w.record("unknown", "DE_000000000005")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := w.up.Drain(ctx)
				if err == nil || !strings.Contains(err.Error(), "2 recordings") {
					t.Errorf("Drain = %v", err)
				}
				if d := time.Since(start); d != time.Minute {
					t.Errorf("gave up after %v", d)
				}
				for _, id := range []string{id, "DE_000000000002", "DE_000000000003"} {
					w.delivered(id, 1)
				}
				w.buckets["down"].SetFault(nil)
				w.buckets["unknown"] = objtest.NewMemory("unknown", true)
				ctx2, cancel2 := context.WithTimeout(t.Context(), time.Minute)
				defer cancel2()
				if err := w.up.Drain(ctx2); err != nil {
					t.Errorf("Drain, all buckets well: %v", err)
				}
				w.shutDown()
			})
		})
	}
}

func TestDrainDoesNotWaitForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.watch(func(string, string) *objtest.Fault {
			return &objtest.Fault{Err: &objstore.Error{
				Cause:     "HTTP 403, AccessDenied",
				Permanent: true,
			}}
		})
		w.record("p1", id)
		start := time.Now()
		if err := w.up.Drain(t.Context()); err == nil || time.Since(start) != 0 {
			t.Errorf("Drain = %v after %v", err, time.Since(start))
		}
		w.shutDown()
	})
}

func TestAPanicStaysItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		first := w.record("p1", id)
		w.record("p1", "DE_000000000002")
		w.watch(func(_, key string) *objtest.Fault {
			if strings.Contains(key, id) {
				panic("secret-alice said something")
			}
			return nil
		})
		w.run()
		settle(time.Minute)
		w.delivered("DE_000000000002", 1)
		w.watch(nil)
		settle(10 * time.Minute)
		w.delivered(first.ID(), 1)
		w.shutDown()
		if strings.Contains(w.log(), "secret-alice") {
			t.Errorf("the log names a participant:\n%s", w.log())
		}
	})
}

func TestNoNamesInLogsAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		fail := true
		w.watch(func(op, key string) *objtest.Fault {
			if fail && strings.HasSuffix(key, ".txt") {
				return &objtest.Fault{Err: &objstore.Error{
					Cause: "HTTP 503, SlowDown",
					Err:   errors.New("PUT " + key),
				}}
			}
			return nil
		})
		w.record("p1", id)
		w.run()
		settle(time.Minute)
		text := w.log() + fmt.Sprint(w.up.Snapshot())
		if strings.Contains(text, "secret-alice") {
			t.Errorf("a participant is named:\n%s", text)
		}
		if !strings.Contains(text, ` room="class 1" `) {
			t.Errorf("the room is not named, or in another way than elsewhere:\n%s", text)
		}
		if !strings.Contains(text, "a text view") || !strings.Contains(text, "SlowDown") {
			t.Errorf("it is not said what failed:\n%s", text)
		}
		w.shutDown()
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		w.shutDown()
		reg := prometheus.NewPedanticRegistry()
		w.opts.Registerer = reg
		w.boot()
		var failing atomic.Bool
		failing.Store(true)
		w.watch(func(string, string) *objtest.Fault {
			if failing.Load() {
				return &objtest.Fault{Err: transient}
			}
			return nil
		})
		w.record("p1", id)
		w.run()
		settle(10 * time.Second)
		got := gather(t, reg)
		if got["pending_recordings"] != 1 || got["oldest_pending_seconds"] != 10 ||
			got["uploads_total error"] < 2 || got["uploads_total ok"] != 0 {
			t.Errorf("metrics while it fails: %v", got)
		}
		failing.Store(false)
		settle(time.Minute)
		got = gather(t, reg)
		size := 0
		for _, data := range w.buckets["p1"].Objects() {
			size += len(data)
		}
		if got["pending_recordings"] != 0 || got["oldest_pending_seconds"] != 0 ||
			got["uploads_total ok"] != 1 || got["upload_bytes_total"] != float64(size) {
			t.Errorf("metrics afterwards: %v, stored are %d bytes", got, size)
		}
		w.shutDown()
	})
}

func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var name strings.Builder
			name.WriteString(strings.TrimPrefix(f.GetName(), "livekit_data_egress_"))
			for _, l := range m.GetLabel() {
				name.WriteString(" " + l.GetValue())
			}
			got[name.String()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}
