package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	lk "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// complete advances a recording to its end, or until the disk has crashed.
func (w *world) complete(id string) {
	for {
		more, err := next(w.spool, id)
		if err != nil || !more {
			return
		}
		w.n.Wake()
		settle(3 * time.Second)
	}
}

// process is a process that records and notifies until every event is sent, or its disk crashes.
func (w *world) process(id string) {
	if err := w.boot(); err != nil {
		return
	}
	w.complete(id)
	settle(10 * time.Minute)
	w.shutDown()
}

// once checks that a receiver has accepted every event, each at most the given number of times.
func (w *world) once(most int, id string) {
	w.t.Helper()
	w.web.check()
	got := w.web.got(urlA, false)
	if compact := slices.Compact(slices.Clone(got)); !slices.Equal(compact, whole(id)) {
		w.t.Errorf("accepted %q\n%s", got, w.log())
	}
	if len(got) > 3+most {
		w.t.Errorf("accepted %q", got)
	}
}

// TestCrash: the machine fails at each disk operation, in two ways, or the process is killed there.
// The next process sends every remaining event in order, and repeats at most one.
func TestCrash(t *testing.T) {
	for name, restart := range map[string]func(*durabletest.CrashFS, int) *durabletest.CrashFS{
		"strict": func(c *durabletest.CrashFS, _ int) *durabletest.CrashFS {
			return c.Restart(nil)
		},
		"random": func(c *durabletest.CrashFS, at int) *durabletest.CrashFS {
			return c.Restart(rand.New(rand.NewPCG(1, uint64(at))))
		},
		"killed": func(c *durabletest.CrashFS, _ int) *durabletest.CrashFS { return c.Killed() },
	} {
		t.Run(name, func(t *testing.T) {
			for at := 1; ; at++ {
				crashed := false
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						disk := durabletest.NewCrashFS(at, 3)
						w.disk = disk
						w.process("DE_1")
						if crashed = disk.Crashed(); crashed {
							w.disk = restart(disk, at)
							w.process("DE_1")
						}
						w.once(2, "DE_1")
						w.wantFiles("DE_1 4.sent")
					})
				})
				if !crashed || t.Failed() {
					if at < 60 {
						t.Errorf("%d operations", at)
					}
					return
				}
			}
		})
	}
}

// TestFaults: each disk operation of this package fails once, or for a while. No event is lost or
// sent twice: only a process without memory of the request repeats an event.
func TestFaults(t *testing.T) {
	for _, failures := range []int{1, 5} {
		for at := 1; ; at++ {
			hit := false
			t.Run(fmt.Sprintf("%d times at %d", failures, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					calls := 0
					fault := func(c durabletest.Call) (int, error) {
						if !strings.HasPrefix(c.Path, "/data/webhooks") || c.Label == "test" {
							return 0, nil
						}
						if calls++; calls < at || calls >= at+failures {
							return 0, nil
						}
						hit = true
						return 3, syscall.EIO
					}
					w.disk = &durabletest.Fault{FS: durabletest.NewCrashFS(0, 0), Hook: fault}
					w.process("DE_1")
					w.once(1, "DE_1")
					w.process("DE_1")
					w.once(1, "DE_1")
					w.wantFiles("DE_1 4.sent")
				})
			})
			if !hit || t.Failed() {
				if at < 30 {
					t.Errorf("%d operations", at)
				}
				break
			}
		}
	}
}

// TestRandom: receivers that are killed, stalled and broken at random, and a service that restarts
// at random: every receiver gets every event of every recording, in order.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, seed))
				w := newWorld(t)
				w.hosts = []string{"b.example.org"}
				w.start()
				broken := make(chan int, 1) // the request that has taken the mood may use answers
				broken <- 0
				answers := rand.New(rand.NewPCG(8, seed))
				w.web.set(func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error) {
					mood := <-broken
					roll := answers.IntN(4)
					broken <- mood
					switch {
					case mood == 0 || roll == 0:
						return http.StatusOK, nil
					case mood == 1:
						return 0, errors.New("connection refused")
					case mood == 2: // it accepts the event, and its answer is lost
						return hang(ctx, url, e)
					}
					return 503, nil
				})
				var ids []string
				for i := range 6 {
					ids = append(ids, fmt.Sprintf("DE_%d", i))
				}
				for left := slices.Clone(ids); len(left) > 0; {
					i := rng.IntN(len(left))
					more, err := next(w.spool, left[i], urlB)
					if err != nil {
						t.Fatal(err)
					}
					if !more {
						left = slices.Delete(left, i, i+1)
						continue
					}
					if rng.IntN(2) == 0 {
						w.n.Wake()
					}
					settle(time.Duration(rng.IntN(20_000)) * time.Millisecond)
					if rng.IntN(3) == 0 {
						<-broken
						broken <- rng.IntN(4)
					}
					if rng.IntN(4) == 0 {
						w.restart()
					}
				}
				w.web.set(nil)
				settle(10 * time.Minute)
				w.web.check()
				for _, url := range []string{urlA, urlB} {
					got := w.web.got(url, false)
					for _, id := range ids {
						var of []string
						for _, g := range got {
							if strings.HasPrefix(g, id+" ") {
								of = append(of, g)
							}
						}
						if !slices.Equal(of, whole(id)) {
							t.Errorf("%s: %q\n%s", url, of, w.log())
						}
					}
				}
			})
		})
	}
}
