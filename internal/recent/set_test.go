package recent

import (
	"strconv"
	"testing"
)

func TestSet(t *testing.T) {
	var s Set
	if s.Has("0") {
		t.Error("an empty set has an id")
	}
	for i := range Max + 5 {
		if !s.Add(strconv.Itoa(i)) || s.Add(strconv.Itoa(i)) {
			t.Fatalf("%d is not new once", i)
		}
	}
	for i := range Max + 5 {
		if got := s.Has(strconv.Itoa(i)); got != (i >= 5) {
			t.Fatalf("%d: %v", i, got)
		}
	}
	if len(s.ids) != Max || len(s.order) != Max {
		t.Errorf("%d and %d ids", len(s.ids), len(s.order))
	}
}
