package app_test

import (
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// TestLife_FaultAtEveryOperation fails every operation on the disk that a whole
// life has, by the label of its call site: with ENOSPC, with EIO, and where it
// writes after a part of the bytes; once, and for a minute. The service goes on by
// itself, or at the latest with its next process; everything that it counted as
// recorded is delivered exactly once, and what is missing is stated.
func TestLife_FaultAtEveryOperation(t *testing.T) {
	base := t.TempDir()
	type site struct{ label, name string }
	var sites []site
	seen := map[site]bool{}
	live := func(t *testing.T, hook func(durabletest.Call) (int, error)) {
		disk := durabletest.NewCrashFS(0, 0)
		fault := &durabletest.Fault{FS: disk, Hook: hook}
		l := newLife(t, filepath.Join(base, "data"))
		l.before = fillUp(disk)
		l.finish(fault)
		if c := l.verify(l.session.recorded); c.FramesMissing > 0 {
			t.Errorf("%+v", c)
		}
	}
	var mu sync.Mutex
	synctest.Test(t, func(t *testing.T) {
		live(t, func(c durabletest.Call) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if s := (site{c.Label, c.Name}); !seen[s] {
				seen[s] = true
				sites = append(sites, s)
			}
			return 0, nil
		})
	})
	if len(sites) < 40 {
		t.Errorf("only %d kinds of operation: %v", len(sites), sites)
	}
	type fault struct {
		err   error
		short int
	}
	faults, n := 0, 0
	for _, s := range sites {
		kinds := []fault{{syscall.ENOSPC, 0}, {syscall.EIO, 0}}
		if s.name == "write" {
			kinds = append(kinds, fault{syscall.ENOSPC, 17}, fault{syscall.EIO, 17})
		}
		for _, k := range kinds {
			for _, lasts := range []time.Duration{0, time.Minute} {
				if n++; n%stride != 0 {
					continue
				}
				faults++
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("%s of %s: %v after %d bytes, for %v", s.name, s.label, k.err,
								k.short, lasts)
						}
					}()
					var mu sync.Mutex
					var since time.Time
					live(t, func(c durabletest.Call) (int, error) {
						mu.Lock()
						defer mu.Unlock()
						if s != (site{c.Label, c.Name}) || !since.IsZero() &&
							time.Since(since) >= lasts {
							return 0, nil
						}
						if since.IsZero() {
							since = time.Now()
						}
						return k.short, k.err
					})
					if since.IsZero() {
						t.Error("the fault did not come")
					}
				})
				if t.Failed() {
					t.FailNow()
				}
			}
		}
	}
	t.Logf("%d kinds of operation, %d faults", len(sites), faults)
}
