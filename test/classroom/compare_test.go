package classroom

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	sent := []Message{
		{N: 1, Topic: "a", Payload: []byte("x"), Reliable: true},
		{N: 2, Topic: "a", Payload: []byte("y"), Reliable: true},
		{N: 3, Topic: "a", Payload: []byte("z")},
		{N: 4, Topic: "a", Payload: []byte("x"), Reliable: true},
		{N: 5, Topic: "a", Payload: []byte("w")},
	}
	r := func(spec string) []Received { // "x" reliable, "z?" lossy, "b/x" another topic
		var l []Received
		for s := range strings.FieldsSeq(spec) {
			topic := "a"
			if t, rest, ok := strings.Cut(s, "/"); ok {
				topic, s = t, rest
			}
			l = append(l, Received{
				Topic: topic, Payload: []byte(strings.TrimSuffix(s, "?")),
				Reliable: !strings.HasSuffix(s, "?"),
			})
		}
		return l
	}
	for spec, want := range map[string]Difference{
		"x y z? x w?": {At: map[int]int{1: 0, 2: 1, 3: 2, 4: 3, 5: 4}},
		"z? w? x y x": {At: map[int]int{3: 0, 5: 1, 1: 2, 2: 3, 4: 4}},
		"x y": {
			At: map[int]int{1: 0, 2: 1}, MissingReliable: []int{4},
			MissingLossy: []int{3, 5},
		},
		"y x x": {
			At: map[int]int{2: 0, 1: 1, 4: 2}, DisorderReliable: []int{1},
			MissingLossy: []int{3, 5},
		},
		"x y x w? z?": {At: map[int]int{1: 0, 2: 1, 4: 2, 5: 3, 3: 4}, DisorderLossy: []int{4}},
		"x y x x b/x z y": {
			At: map[int]int{1: 0, 2: 1, 4: 2}, Surplus: []int{3, 4, 5, 6},
			MissingLossy: []int{3, 5},
		},
	} {
		if diff := cmp.Diff(want, Compare(sent, r(spec))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", spec, diff)
		}
	}
}
