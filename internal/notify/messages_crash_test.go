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

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/spool"
)

// class is a process that records a class of 20 messages and notifies, until everything is sent or
// its disk crashes. A later process continues.
func (w *world) class(id string) {
	if err := w.boot(); err != nil {
		return
	}
	for {
		if disk, ok := w.disk.(*durabletest.CrashFS); ok && disk.Crashed() {
			w.shutDown()
			return
		}
		rec, ok := w.spool.Recording(id)
		if said := int(w.lines.count(id)); ok && said < 20 {
			w.lines.say(id, "", numbered(said+1, said+4)...)
			settle(6 * time.Second)
			continue
		}
		if ok && rec.State() == spool.StateOpen {
			w.lines.end(id)
		}
		more, err := next(w.spool, id)
		if err != nil || !more {
			break
		}
		w.n.Wake()
		settle(3 * time.Second)
	}
	settle(10 * time.Minute)
	w.shutDown()
}

// TestMessagesCrash: the machine fails at each disk operation, in two ways, or the process is
// killed there. The next process sends every remaining line in order, and repeats those of a few
// seconds at most.
func TestMessagesCrash(t *testing.T) {
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
						w := newMessageWorld(t)
						disk := durabletest.NewCrashFS(at, 3)
						w.disk = disk
						w.class("DE_1")
						if crashed = disk.Crashed(); crashed {
							w.disk = restart(disk, at)
							w.class("DE_1")
						}
						w.wantMessages(urlA, "DE_1", numbered(1, 20)...)
						w.checkOrder()
						w.wantCursors("DE_1.A.sent")
						w.once(2, "DE_1")
						sent := 0
						for _, b := range w.web.batches {
							sent += len(b.got.Lines)
						}
						if sent > 20+8 {
							t.Errorf("%d lines were sent\n%s", sent, w.log())
						}
					})
				})
				if !crashed || t.Failed() {
					if at < 80 {
						t.Errorf("%d operations", at)
					}
					return
				}
			}
		})
	}
}

// TestMessagesFaults: each operation on the directory of cursors fails once, or for a while. No
// line is lost, and none is sent twice by a process that remembers it.
func TestMessagesFaults(t *testing.T) {
	for _, failures := range []int{1, 5} {
		for at := 1; ; at++ {
			hit := false
			t.Run(fmt.Sprintf("%d times at %d", failures, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newMessageWorld(t)
					calls := 0
					fault := func(c durabletest.Call) (int, error) {
						if !strings.HasPrefix(c.Path, "/data/webhooks/messages") ||
							c.Label == "test" {
							return 0, nil
						}
						if calls++; calls < at || calls >= at+failures {
							return 0, nil
						}
						hit = true
						return 3, syscall.EIO
					}
					w.disk = &durabletest.Fault{FS: durabletest.NewCrashFS(0, 0), Hook: fault}
					w.class("DE_1")
					w.wantMessages(urlA, "DE_1", numbered(1, 20)...)
					sent := 0
					for _, b := range w.web.batches {
						sent += len(b.got.Lines)
					}
					if sent != 20 {
						t.Errorf("%d lines were sent", sent)
					}
					w.class("DE_1")
					w.wantMessages(urlA, "DE_1", numbered(1, 20)...)
					w.wantCursors("DE_1.A.sent")
				})
			})
			if !hit || t.Failed() {
				if at < 20 {
					t.Errorf("%d operations", at)
				}
				break
			}
		}
	}
}

// TestDamagedCursor: a cursor that cannot be read is reported, and the recording is sent again.
func TestDamagedCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		w.lines.say("DE_1", "", "said")
		settle(10 * time.Second)
		w.shutDown()
		path := w.n.store.cursors().path("DE_1", messagesID("p", urlA), pendingSuffix)
		if err := durable.ReplaceFile(w.disk, "test", path, []byte(`{"n":`)); err != nil {
			t.Fatal(err)
		}
		w.start()
		settle(10 * time.Second)
		w.lines.say("DE_1", "", "more")
		w.seal("DE_1")
		w.wantMessages(urlA, "DE_1", "said", "more")
		if len(w.web.batches) != 3 || !strings.Contains(w.log(), "cannot be read") {
			t.Errorf("%d batches\n%s", len(w.web.batches), w.log())
		}
		w.wantCursors("DE_1.A.sent")
	})
}

// TestMessagesRandom: a receiver that is killed, stalled and broken at random, and a service that
// restarts at random: the receiver gets every line, in order, each at least once.
func TestMessagesRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(9, seed))
				w := newMessageWorld(t)
				w.start()
				broken := make(chan int, 1) // the request that has taken the mood may use answers
				broken <- 0
				answers := rand.New(rand.NewPCG(10, seed))
				w.web.set(func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error) {
					mood := <-broken
					roll := answers.IntN(4)
					broken <- mood
					switch {
					case mood == 0 || roll == 0:
						return http.StatusOK, nil
					case mood == 1:
						return 0, errors.New("connection refused")
					case mood == 2: // it accepts the batch, and its answer is lost
						return hang(ctx, url, e)
					}
					return 404, nil
				})
				var ids []string
				for i := range 5 {
					ids = append(ids, fmt.Sprintf("DE_%d", i))
				}
				said := map[string]int{}
				for left := slices.Clone(ids); len(left) > 0; {
					i := rng.IntN(len(left))
					id := left[i]
					rec, ok := w.spool.Recording(id)
					switch open := ok && rec.State() == spool.StateOpen; {
					case open && rng.IntN(8) > 0:
						count := 1 + rng.IntN(3)
						if rng.IntN(10) == 0 {
							count = 600
						}
						w.lines.say(id, "", numbered(said[id]+1, said[id]+count)...)
						said[id] += count
					default:
						if open {
							w.lines.end(id)
						}
						if !ok {
							if _, err := next(w.spool, id); err != nil {
								t.Fatal(err)
							}
						}
						if more, err := next(w.spool, id); err != nil {
							t.Fatal(err)
						} else if !more {
							left = slices.Delete(left, i, i+1)
							continue
						}
					}
					if rng.IntN(2) == 0 {
						w.n.Wake()
					}
					settle(time.Duration(rng.IntN(10_000)) * time.Millisecond)
					if rng.IntN(6) == 0 {
						<-broken
						broken <- rng.IntN(4)
					}
					if rng.IntN(10) == 0 {
						w.restart()
					}
				}
				w.web.set(nil)
				settle(10 * time.Minute)
				w.checkOrder()
				for _, id := range ids {
					w.wantMessages(urlA, id, numbered(1, said[id])...)
					var of []string
					for _, g := range w.web.got(urlA, false) {
						if strings.HasPrefix(g, id+" ") {
							of = append(of, g)
						}
					}
					if !slices.Equal(of, whole(id)) {
						t.Errorf("%q\n%s", of, w.log())
					}
				}
			})
		})
	}
}
