package erasure_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/pseudonym"
)

// TestForgetUnderPseudonyms: by identity, as long as the disk has the recording. After that it says
// that it cannot, where there is something, and the list keeps what is needed to find it.
func TestForgetUnderPseudonyms(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("b", true))
	w.names = pseudonym.Open(w.dir)
	if _, err := w.names.Key("p"); err != nil {
		t.Fatal(err)
	}
	w.spool.Close()
	w.open()
	names, err := w.names.Names("p", "")
	if err != nil {
		t.Fatal(err)
	}
	listed := func(identity string) bool {
		list, err := w.names.List("")
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list,
			func(e pseudonym.Entry) bool { return e.Identity == identity })
	}
	w.record("DE_1")
	w.deliver()
	before, m := w.lines(prefix)
	if !m.Pseudonyms || !listed(bob) || !listed("alice") {
		t.Fatalf("delivered %+v, listed %v", m, listed(bob))
	}
	w.forget(erasure.Request{DryRun: true})
	w.forget(erasure.Request{Recording: "DE_1", DryRun: true})
	if !listed(bob) {
		t.Error("looking removed the pseudonym")
	}
	if a := w.forget(erasure.Request{}); !a.Complete() ||
		a.Recordings[0].Outcome != erasure.Erased {
		t.Errorf("%+v", a)
	}
	after, m := w.lines(prefix + "r2/")
	if !m.Pseudonyms || m.Forgotten == nil || len(before) != len(after) {
		t.Errorf("%+v", m)
	}
	for i := range after {
		if b, _ := after[i].MarshalJSON(); bytes.Contains(b, []byte(`"identity":"`+names.Of(bob))) {
			t.Errorf("still there: %s", b)
		}
	}
	if listed(bob) || !listed("alice") {
		t.Errorf("listed: bob %v, alice %v", listed(bob), listed("alice"))
	}

	// The local data is gone: there is nothing of bob, and there is something of alice.
	if err := w.spool.Recordings()[0].RemoveData(); err != nil {
		t.Fatal(err)
	}
	if a := w.forget(erasure.Request{}); !a.Complete() ||
		a.Recordings[0].Outcome != erasure.Nothing {
		t.Errorf("who is not in it: %+v", a)
	}
	objects := len(w.objects())
	for range 2 {
		a, err := w.f.Erase(t.Context(), erasure.Request{Identity: "alice"})
		if err != nil || a.Complete() || a.Recordings[0].Outcome != erasure.Skipped ||
			!strings.Contains(a.Recordings[0].Problems[0], "pseudonyms") {
			t.Errorf("%+v %v", a, err)
		}
	}
	if !listed("alice") || len(w.objects()) != objects {
		t.Error("something was changed")
	}
	a, err := erasure.From(t.Context(), erasure.Place{
		Bucket: w.bucket, Prefix: prefix,
		Scratch: t.TempDir(),
	}, erasure.Request{Identity: "alice"})
	if err != nil || a.Complete() || !strings.Contains(a.Recordings[0].Problems[0],
		"under pseudonyms") {
		t.Errorf("from the bucket: %+v %v", a, err)
	}
	if got := w.objects()[prefix+"r2/"+textegress.ManifestName]; len(got) == 0 {
		t.Error("the manifest is gone")
	}
}
