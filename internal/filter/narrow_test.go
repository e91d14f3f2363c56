package filter

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		allow, deny, entries []string
		want                 []string
	}{
		{nil, nil, []string{"chat", "x*", `""`}, nil},
		{[]string{"chat", "lk.*"}, nil, []string{"chat", "lk.x", "lk.a*"}, nil},
		{[]string{"chat"}, nil, []string{"other", "chat*", "c"}, []string{
			"other allow false", "chat* allow true", "c allow false",
		}},
		{nil, []string{"secret*"}, []string{"secret", "secret.x*", "s*"}, []string{
			"secret deny false", "secret.x* deny false",
		}},
		{nil, nil, []string{"a*b", ""}, []string{"a*b invalid", " invalid"}},
	} {
		var got []string
		for _, r := range Check(c.allow, c.deny, c.entries) {
			if r.Err != nil {
				got = append(got, r.Entry+" invalid")
				continue
			}
			got = append(got, fmt.Sprint(r.Entry, " ", r.List, " ", r.Part))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%v: %s", c, d)
		}
	}
}

// TestNarrow: for every name, the result allows exactly what both rules allow.
func TestNarrow(t *testing.T) {
	names := []string{"", "a", "ab", "abc", "b", "*", "ba"}
	entries := []string{`""`, "a", "a*", "ab", "ab*", "*", `\*`, "b*", "x"}
	rng := rand.New(rand.NewPCG(1, 2))
	list := func() (out []string) {
		for range rng.IntN(4) {
			out = append(out, entries[rng.IntN(len(entries))])
		}
		return out
	}
	random := func() textegress.SelectionRules {
		return textegress.SelectionRules{
			TopicsAllow: list(), TopicsDeny: list(), IdentitiesAllow: list(),
			IdentitiesDeny: list(),
		}
	}
	passes := func(r textegress.SelectionRules) (out []string) {
		topics, err := newLists("topics", r.TopicsAllow, r.TopicsDeny)
		if err != nil {
			t.Fatal(err)
		}
		identities, err := newLists("identities", r.IdentitiesAllow, r.IdentitiesDeny)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			out = append(out, fmt.Sprintf("%q %v %v", n, topics.denies([]byte(n)),
				identities.denies([]byte(n))))
		}
		return out
	}
	for range 5000 {
		a, b := random(), random()
		var want []string
		ta, _ := newLists("", a.TopicsAllow, a.TopicsDeny)
		tb, _ := newLists("", b.TopicsAllow, b.TopicsDeny)
		ia, _ := newLists("", a.IdentitiesAllow, a.IdentitiesDeny)
		ib, _ := newLists("", b.IdentitiesAllow, b.IdentitiesDeny)
		for _, name := range names {
			n := []byte(name)
			want = append(want, fmt.Sprintf("%q %v %v", name, ta.denies(n) || tb.denies(n),
				ia.denies(n) || ib.denies(n)))
		}
		if d := cmp.Diff(want, passes(Narrow(a, b))); d != "" {
			t.Fatalf("%+v and %+v: %+v\n%s", a, b, Narrow(a, b), d)
		}
	}
}

// TestNarrow_Encrypted: a packet whose topic is encrypted is kept only where some topic may pass.
func TestNarrow_Encrypted(t *testing.T) {
	project := textegress.SelectionRules{TopicsAllow: []string{"a"}, EncryptedKept: true}
	allow := func(topic string) textegress.SelectionRules {
		return textegress.SelectionRules{TopicsAllow: []string{topic}}
	}
	if r := Narrow(project, allow("a")); !r.EncryptedKept {
		t.Errorf("%+v", r)
	}
	if r := Narrow(project, allow("b")); r.EncryptedKept {
		t.Errorf("%+v", r)
	}
	if r := Narrow(project, textegress.SelectionRules{TopicsDeny: Nothing()}); r.EncryptedKept {
		t.Errorf("%+v", r)
	}
}
