package erasure_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/merge"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

const passphrase = "a shared secret"

// newKeys reads keys once: deriving them takes a while. It is not safe for concurrent use.
var newKeys = func() func(string) *render.Keys {
	known := map[string]*render.Keys{}
	return func(text string) *render.Keys {
		if known[text] == nil {
			k, err := render.NewKeys([]byte(text))
			if err != nil {
				panic(err)
			}
			known[text] = k
		}
		return known[text]
	}
}()

func keysOf(text string) *render.Keys {
	if text == "" {
		return nil
	}
	return newKeys(text)
}

// What was delivered is derived again with the keys that it was derived with, or not at all: with
// others, lines would get other numbers, and what was readable would be ciphertext again.
func TestForgetFromEncrypted(t *testing.T) {
	for name, tc := range map[string]struct{ delivered, given, refused string }{
		"with the key":            {passphrase, passphrase, ""},
		"with the key and others": {passphrase, "another\n" + passphrase, ""},
		"without the key": {passphrase, "", "6 encrypted packets were decrypted " +
			"when this revision was delivered, but the given keys decrypt 0"},
		"with another key":              {passphrase, "another", "--e2ee-key-file"},
		"delivered without, given none": {"", "", ""},
		"delivered without, given one":  {"", passphrase, ""}, // as it was delivered
		"delivered with a wrong one":    {"another", "another", ""},
		"a wrong one, now the right":    {"another", passphrase, "decrypt 6"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objtest.NewMemory("b", true))
			w.key, w.keys = passphrase, keysOf(tc.delivered)
			w.record("DE_1")
			w.deliver()
			before, m := w.lines(prefix)
			found := w.traces()
			w.spool.Close()
			w.dir = t.TempDir() // that of another machine
			place := erasure.Place{
				Bucket: w.bucket, Prefix: prefix, Scratch: t.TempDir(),
				KeysFor: func(project string) (*render.Keys, error) {
					if project != "p" {
						t.Errorf("asked for the keys of %q", project)
					}
					return keysOf(tc.given), nil
				},
			}
			a, err := erasure.From(t.Context(), place, erasure.Request{Identity: bob})
			if err != nil || len(a.Recordings) != 1 {
				t.Fatalf("%+v, %v", a, err)
			}
			if tc.refused != "" {
				if problems := strings.Join(a.Recordings[0].Problems,
					"; "); !strings.Contains(problems, tc.refused) || a.Complete() {
					t.Errorf("%+v, want a problem with %q", a, tc.refused)
				}
				inBucket := 0
				for _, f := range found {
					if strings.HasPrefix(f, "bucket: ") {
						inBucket++
					}
				}
				if got := w.traces(); len(got) != inBucket {
					t.Errorf("something was changed: %q", got)
				}
				return
			}
			if !a.Complete() {
				t.Fatalf("%+v", a)
			}
			if got := w.traces(); len(got) > 0 {
				t.Errorf("still there: %q", got)
			}
			after, n := w.lines(prefix + "r2/")
			w.same(before, after)
			if (m.Counts.DecryptedPackets == nil) != (n.Counts.DecryptedPackets == nil) {
				t.Errorf("decrypted %v, before %v", n.Counts.DecryptedPackets,
					m.Counts.DecryptedPackets)
			}
		})
	}
}

// A merged recording has the connections of two recorders, whose handles of data tracks mean
// different tracks, and the events of both.
func TestForgetFromMerged(t *testing.T) {
	var sources []render.Source
	w := newWorld(t, objtest.NewMemory("b", true))
	for _, instance := range []string{"first", "second"} {
		w.dir = t.TempDir()
		w.open()
		rec := w.record("DE_"+instance, func(i *spool.Info) {
			i.SessionID, i.Instance, i.Part = "s",
				instance, 1
		})
		sources = append(sources, render.FromSpool(rec))
	}
	folder := t.TempDir()
	merged, err := merge.Merge(t.Context(), sources[0], sources[1], folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	w.bucket, w.dir = b, t.TempDir()
	before, _ := w.lines("")
	if len(w.traces()) == 0 || len(merged.Merged) != 2 {
		t.Fatalf("traces %q, made of %d", w.traces(), len(merged.Merged))
	}
	a, err := erasure.From(t.Context(), erasure.Place{Bucket: b, Scratch: t.TempDir()},
		erasure.Request{Identity: bob})
	if got := outcomes(a); err != nil ||
		!cmp.Equal(got, []string{merged.EgressID + " forgotten r2"}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
	after, m := w.lines("r2/")
	w.same(before, after)
	if !cmp.Equal(m.Merged, merged.Merged) {
		t.Errorf("made of %+v, before of %+v", m.Merged, merged.Merged)
	}
	hers := 0
	for _, l := range after {
		if l.Kind == textegress.KindDataTrack {
			hers++
			if l.Identity != "alice" {
				t.Errorf("line %d is of %q", l.N, l.Identity)
			}
		}
	}
	if hers < 4 {
		t.Errorf("%d frames of alice are left, want 4 or more", hers)
	}
}
