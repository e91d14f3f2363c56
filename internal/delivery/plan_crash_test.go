package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/spool"
)

// secondRevision is a sealed recording on a disk of its own whose first revision cannot be
// delivered: a key of it is taken, so that the delivery plans a second one.
type secondRevision struct {
	t      *testing.T
	dir    string // of the spool; the staging directory is there on the real disk
	disk   *durabletest.CrashFS
	bucket *objtest.Memory
}

func newSecondRevision(t *testing.T) *secondRevision {
	s := &secondRevision{
		t: t, dir: filepath.Join(t.TempDir(), "data"), disk: durabletest.NewCrashFS(0, 0),
		bucket: objtest.NewMemory("p1", true),
	}
	sp := s.open(s.disk)
	w := &world{t: t, sp: sp}
	rec := w.record("p1", id)
	s.bucket.Put(rec.Info().KeyPrefix+textegress.EventsName, []byte(foreign))
	if err := os.MkdirAll(rec.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

const planMinFree = 256 << 10 // a sixteenth of it is the ballast

func (s *secondRevision) open(fsys durable.FS) *spool.Spool {
	s.t.Helper()
	sp, err := spool.Open(s.dir, spool.Options{
		FS: fsys, SyncInterval: time.Hour, DiskMinFree: planMinFree,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return sp
}

// deliver is one process. It tries for so long and reports whether everything was delivered.
func (s *secondRevision) deliver(fsys durable.FS, patience time.Duration) error {
	sp, err := spool.Open(s.dir, spool.Options{
		FS: fsys, SyncInterval: time.Hour, DiskMinFree: planMinFree,
	})
	if err != nil {
		return err
	}
	defer sp.Close() // which a crash makes fail
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return delivery.New(delivery.Options{
		Spool: sp, Retention: -1,
		Projects: &projects{bucket: oneBucket(s.bucket)},
	}).Drain(ctx)
}

// planned returns the keys in the bucket that a power failure at this moment would leave in a plan.
func (s *secondRevision) planned(rng *rand.Rand) map[string]bool {
	sp := s.open(s.disk.Restart(rng))
	defer sp.Close()
	keys := map[string]bool{}
	for _, rec := range sp.Recordings() {
		plan, _, err := delivery.LoadPlan(rec)
		if err != nil {
			s.t.Error(err)
		}
		for _, o := range plan.Objects {
			keys[plan.Prefix+o.Key] = true
		}
	}
	return keys
}

// watch checks before each upload that its key is in the durable plan.
func (s *secondRevision) watch(rng *rand.Rand) {
	s.bucket.SetFault(func(op, key string) *objtest.Fault {
		if op == "upload" && !s.planned(rng)[key] {
			s.t.Errorf("%s is uploaded, and a power failure would lose the plan that names it", key)
		}
		return nil
	})
}

// verify checks that the second revision was delivered and that nothing else was written.
func (s *secondRevision) verify(uploaded map[string][]byte) {
	s.t.Helper()
	plan := s.planned(nil)
	for key, data := range s.bucket.Objects() {
		if was, ok := uploaded[key]; ok && !bytes.Equal(was, data) {
			s.t.Errorf("%s changed", key)
		}
		if strings.Contains(key, "/r") && !plan[key] {
			s.t.Errorf("%s was delivered and is in no plan", key)
		}
		delete(plan, key)
	}
	if len(plan) > 0 {
		s.t.Errorf("not delivered: %q", slices.Sorted(maps.Keys(plan)))
	}
	sp := s.open(s.disk)
	defer sp.Close()
	rec, _ := sp.Recording(id)
	if rec.State() != spool.StateUploaded {
		s.t.Errorf("the recording is %s", rec.State())
	}
	if plan, _, err := delivery.LoadPlan(rec); err != nil || plan.Revision != 2 {
		s.t.Errorf("revision %d, %v", plan.Revision, err)
	}
}

// serial makes a hook for several goroutines: the spool looks at its disk in one of its own.
func serial(hook func(durabletest.Call) (int, error)) func(durabletest.Call) (int, error) {
	var mu sync.Mutex
	return func(c durabletest.Call) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return hook(c)
	}
}

// changes reports whether a call changes what is on the disk.
func changes(c durabletest.Call) bool {
	return slices.Contains([]string{
		"create", "write", "sync", "rename", "remove", "removeall", "syncdir", "truncate",
	}, c.Name)
}

// TestPlanSurvivesACrash ends the machine at every operation of a delivery that plans a second
// revision. What was uploaded before is in a plan that the next boot finds, and stays as it is.
func TestPlanSurvivesACrash(t *testing.T) {
	planWrites := 0
	for crashAt := 1; ; crashAt++ {
		crashed := false
		synctest.Test(t, func(t *testing.T) {
			s := newSecondRevision(t)
			rng := rand.New(rand.NewPCG(1, uint64(crashAt)))
			s.watch(rng)
			n := 0
			err := s.deliver(&durabletest.Fault{
				FS: s.disk,
				Hook: serial(func(c durabletest.Call) (int, error) {
					if n += count(changes(c)); n == crashAt {
						planWrites += count(strings.HasSuffix(c.Label, "export-r2.json"))
						crashed = true
					}
					if crashed {
						return 0, durabletest.ErrCrashed
					}
					return 0, nil
				}),
			}, 10*time.Second)
			if err != nil && !crashed {
				t.Error(err)
			}
			uploaded := s.bucket.Objects()
			s.disk = s.disk.Restart(rng)
			s.watch(rng)
			if err := s.deliver(s.disk, time.Hour); err != nil {
				t.Errorf("after a crash at operation %d: %v", crashAt, err)
			}
			s.verify(uploaded)
		})
		if !crashed {
			break
		}
	}
	if planWrites == 0 {
		t.Error("no crash hit the writing of the second plan")
	}
}

// TestPlanFaults fails each call with which the second plan is written. Nothing of it is uploaded
// before it is durable, and the delivery continues.
func TestPlanFaults(t *testing.T) {
	for _, call := range []string{
		"readfile", "remove", "create", "write", "sync", "rename", "syncdir",
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSecondRevision(t)
				s.watch(rand.New(rand.NewPCG(2, 1)))
				failures := 0
				err := s.deliver(&durabletest.Fault{
					FS: s.disk,
					Hook: serial(func(c durabletest.Call) (int, error) {
						if c.Label == "state-export-r2.json" && c.Name == call && failures < 3 {
							failures++
							return 0, syscall.EIO
						}
						return 0, nil
					}),
				}, time.Hour)
				if err != nil || failures != 3 {
					t.Errorf("%v after %d failures", err, failures)
				}
				s.verify(nil)
			})
		})
	}
}

// TestPlanOnAFullDisk: the reserve is there for the plan of a second revision, too.
func TestPlanOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecondRevision(t)
		s.disk.SetCapacity(s.disk.Used() + 1<<20)
		full := false
		err := s.deliver(&durabletest.Fault{
			FS: s.disk,
			Hook: serial(func(c durabletest.Call) (int, error) {
				if c.Label == "state-export-r2.json" && c.Name == "create" && !full {
					full = true
					s.disk.SetCapacity(s.disk.Used())
				}
				return 0, nil
			}),
		}, time.Minute)
		if _, rerr := s.disk.ReadFile("test",
			filepath.Join(s.dir, "recordings", id, "export-r2.json")); rerr != nil || !full {
			t.Errorf("the plan was not written: %v, %v", rerr, err)
		}
	})
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestPlan saves and loads the plans of three revisions.
func TestPlan(t *testing.T) {
	w := newWorld(t, true)
	rec := w.record("p1", id)
	if _, ok, err := delivery.LoadPlan(rec); ok || err != nil {
		t.Fatalf("before: %v, %v", ok, err)
	}
	for revision := 1; revision <= 3; revision++ {
		m := textegress.Manifest{Revision: revision, Objects: []textegress.Object{{
			Key: textegress.EventsName, Size: 3, SHA256: strings.Repeat("ab", 32),
		}}}
		plan, err := delivery.NewPlan(rec.Info(), m)
		if err != nil {
			t.Fatal(err)
		}
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		last := plan.Objects[len(plan.Objects)-1]
		if last.Key != textegress.ManifestName || last.SHA256 != sum(data) ||
			last.Size != int64(len(data)) {
			t.Errorf("the last object is %+v", last)
		}
		want := rec.Info().KeyPrefix
		if revision > 1 {
			want += fmt.Sprintf("r%d/", revision)
		}
		if plan.Prefix != want {
			t.Errorf("revision %d goes to %q", revision, plan.Prefix)
		}
		for range 2 { // again is a success
			if err := plan.Save(rec); err != nil {
				t.Fatal(err)
			}
		}
		got, ok, err := delivery.LoadPlan(rec)
		if err != nil || !ok || got.Revision != revision || !got.Equal(plan) {
			t.Errorf("loaded %+v, %v, %v", got, ok, err)
		}
		other := plan
		other.Objects = slices.Clone(plan.Objects)
		other.Objects[0].SHA256 = strings.Repeat("0", 64)
		if other.Equal(plan) {
			t.Error("other bytes are called equal")
		}
		if err := other.Save(rec); !errors.Is(err, os.ErrExist) {
			t.Errorf("saving a revision with other bytes = %v", err)
		}
	}
}
