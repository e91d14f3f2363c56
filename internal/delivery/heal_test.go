package delivery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// A refusal that heals within seconds, as new keys, policies and clocks do, delays a delivery by
// seconds, also where it is of the kind that needs a person.
func TestARefusalThatHealsInSeconds(t *testing.T) {
	for name, answer := range map[string]*objstore.Error{
		"signature":   {Cause: "HTTP 403, SignatureDoesNotMatch", Permanent: true},
		"no bucket":   {Cause: "HTTP 404, NoSuchBucket", Permanent: true},
		"clock":       {Cause: "HTTP 403, RequestTimeTooSkewed"},
		"not a store": {Cause: "the answer is not that of an S3 store"},
	} {
		for _, op := range []string{"stat", "upload"} {
			t.Run(name+" of "+op, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, true, "p1")
					start := time.Now()
					w.watch(func(o, _ string) *objtest.Fault {
						if o == op && time.Since(start) < 5*time.Second {
							return &objtest.Fault{Err: answer}
						}
						return nil
					})
					w.record("p1", id)
					w.run()
					settle(15 * time.Second)
					w.delivered(id, 1)
					w.shutDown()
				})
			})
		}
	}
}

// What keeps failing, in any way, is tried within seconds at first and never more than five minutes
// apart.
func TestPausesOfARefusal(t *testing.T) {
	for name, answer := range map[string]*objstore.Error{
		"needs a person": {Cause: "HTTP 403, AccessDenied", Permanent: true},
		"asks for hours": {Cause: "HTTP 503, SlowDown", RetryAfter: 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1")
				var at []time.Time
				w.watch(func(string, string) *objtest.Fault {
					at = append(at, time.Now())
					return &objtest.Fault{Err: answer}
				})
				w.record("p1", id)
				w.run()
				settle(3 * time.Hour)
				for i := 1; i < len(at); i++ {
					if d := at[i].Sub(at[i-1]); d > 5*time.Minute || i == 1 && answer.Permanent &&
						d > time.Second {
						t.Errorf("pause %d is %v", i, d)
					}
				}
				if n := len(at); n < 36 || n > 100 {
					t.Errorf("%d attempts in three hours", n)
				}
				w.shutDown()
			})
		})
	}
}

// What is failing is said: at once where it needs a person, after a minute where it may pass, until
// it has passed.
func TestFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1", "p2")
		answer := map[string]*objstore.Error{
			"p1": {
				Cause: "HTTP 403, SignatureDoesNotMatch", Remedy: "check SECRET_KEY",
				Permanent: true,
			},
			"p2": {Cause: "HTTP 500, InternalError"},
		}
		for p, b := range w.buckets {
			b.SetFault(func(string, string) *objtest.Fault {
				if answer[p] != nil {
					return &objtest.Fault{Err: answer[p]}
				}
				return &objtest.Fault{Applied: true, Wait: func(ctx context.Context) error {
					return backoff.Sleep(ctx, time.Second)
				}}
			})
		}
		w.record("p1", id)
		w.record("p1", "DE_000000000002")
		w.record("p2", "DE_000000000003")
		w.run()
		start := time.Now()
		settle(10 * time.Second)
		failing := func(p string) string {
			f := w.up.Snapshot().Projects[p].Failing
			if len(f) > 1 {
				t.Errorf("%s: %+v", p, f)
			}
			if len(f) == 0 {
				return ""
			}
			if d := f[0].Since.Sub(start); d < 0 || d > 2*time.Second {
				t.Errorf("%s: failing since %v after the start", p, d)
			}
			return f[0].EgressID + ": " + f[0].Error
		}
		if got := failing("p1"); !strings.HasPrefix(got, id+": ") ||
			!strings.Contains(got, "check SECRET_KEY") {
			t.Errorf("a refusal that needs a person: %q", got)
		}
		if f := w.up.Snapshot().Projects["p1"].Failing; f[0].Others != 1 {
			t.Errorf("%+v, want another one that fails in the same way", f)
		}
		if got := failing("p2"); got != "" {
			t.Errorf("an error that may pass, after ten seconds: %q", got)
		}
		settle(time.Minute)
		if got := failing("p2"); !strings.Contains(got, "InternalError") {
			t.Errorf("an error that may pass, after a minute: %q", got)
		}
		clear(answer)
		w.up.Retry("p1")
		settle(0)
		for w.up.Snapshot().Projects["p1"].Pending == 2 {
			settle(time.Second)
		}
		// The first one was delivered: the other one waits, and does not fail any more.
		if got := failing("p1"); got != "" {
			t.Errorf("the bucket works again: %q", got)
		}
		settle(5 * time.Minute)
		w.delivered(id, 1)
		w.delivered("DE_000000000002", 1)
		w.delivered("DE_000000000003", 1)
		w.shutDown()
	})
}

// partial is a store that keeps parts of interrupted uploads.
type partial struct {
	*objtest.Memory
	asked []string
	err   error
}

func (p *partial) AbortUploads(_ context.Context, prefix string, keep func(string) bool) (int,
	error,
) {
	p.asked = append(p.asked, prefix)
	if keep(prefix + "anything") {
		return 0, nil
	}
	return 2, p.err
}

// A delivery that an earlier process had begun looks once for parts of uploads which that may have
// left. Whether it finds any, or may look, changes nothing about the delivery.
func TestPartsThatAKilledProcessLeft(t *testing.T) {
	for name, err := range map[string]error{
		"found":   nil,
		"refused": &objstore.Error{Cause: "HTTP 403, AccessDenied", Permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, true, "p1")
				p := &partial{Memory: w.buckets["p1"], err: err}
				w.wrap = func(b objstore.Bucket) objstore.Bucket { return p }
				w.buckets["p1"].SetFault(func(op, _ string) *objtest.Fault {
					if op == "upload" {
						return &objtest.Fault{Err: transient}
					}
					return nil
				})
				rec := w.record("p1", id)
				w.run()
				settle(time.Minute)
				if len(p.asked) != 0 {
					t.Errorf("nobody was before us: asked for %q", p.asked)
				}
				w.restart()
				settle(time.Minute)
				if len(p.asked) != 1 || p.asked[0] != rec.Info().KeyPrefix {
					t.Errorf("asked for %q, want once for the recording's prefix", p.asked)
				}
				w.buckets["p1"].SetFault(nil)
				settle(5 * time.Minute)
				w.delivered(id, 1)
				w.shutDown()
			})
		})
	}
}
