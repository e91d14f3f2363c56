package delivery_test

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/spool"
)

// TestPseudonyms: a recording that was begun under pseudonyms waits until there are some, and
// whatever is derived again of it gives the same bytes.
func TestPseudonyms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, "p1")
		store := pseudonym.Open(t.TempDir())
		if _, err := store.Key("p1"); err != nil {
			t.Fatal(err)
		}
		w.pseudonyms = true
		w.record("p1", "DE_1")
		delivered := func() map[string]string {
			found := map[string]string{}
			for key, data := range w.buckets["p1"].Objects() {
				found[key] = string(data)
				if strings.Contains(key+string(data), "secret-alice") {
					t.Errorf("the identity is in %s", key)
				}
			}
			return found
		}
		w.run()
		settle(10 * time.Minute)
		if got := delivered(); len(got) > 0 {
			t.Errorf("without pseudonyms %d objects are delivered", len(got))
		}
		w.shutDown()

		var open atomic.Bool
		w.projects.pseudonyms = func(info spool.Info) (redact.Pseudonyms, error) {
			if !open.Load() {
				return nil, errors.New("the key is missing")
			}
			return store.Names(info.ProjectID, info.PseudonymKey)
		}
		w.boot()
		w.run()
		settle(10 * time.Minute)
		if got := delivered(); len(got) > 0 {
			t.Errorf("without the key %d objects are delivered", len(got))
		}
		open.Store(true)
		settle(10 * time.Minute)
		first := delivered()
		if len(first) != 5 { // a text view, events.jsonl, metadata, report.html, manifest.json
			t.Errorf("delivered: %d objects", len(first))
		}
		if list, err := store.List("p1"); err != nil || len(list) != 1 ||
			list[0].Identity != "secret-alice" {
			t.Errorf("the list is %v (%v)", list, err)
		}

		// Killed before it could write that it was delivered, and staging is gone: the same again,
		// no second revision.
		w.shutDown()
		rec := spoolDir(w, "DE_1")
		for _, name := range []string{"uploaded.json", "objects"} {
			if err := os.RemoveAll(rec + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
		w.boot()
		w.run()
		settle(10 * time.Minute)
		if diff := cmp.Diff(first, delivered()); diff != "" {
			t.Errorf("delivered again (-want +got):\n%s", diff)
		}
		w.shutDown()
	})
}

func spoolDir(w *world, id string) string { return w.dir + "/recordings/" + id }
