package rtc

import (
	"slices"
	"testing"
)

func TestNetworkOf(t *testing.T) {
	for host, want := range map[string]network{
		"127.0.0.1":            {v4: true, loopback: true},
		"::1":                  {v6: true, loopback: true},
		"192.0.2.7":            {v4: true},
		"2001:db8::7":          {v6: true},
		"does-not-exist.test.": {v4: true, v6: true},
	} {
		if got := networkOf(t.Context(), host); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}

// Interfaces that come and go are seen by connections that are there already.
func TestInterfacesAreListedAgain(t *testing.T) {
	api, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, ok := api.net.(*systemNet)
	if !ok {
		t.Fatalf("the network is a %T", api.net)
	}
	first, err := h.Interfaces()
	if err != nil || len(first) == 0 {
		t.Fatal(first, err)
	}
	h.list = slices.Clone(h.list)[:0]
	if got, _ := h.Interfaces(); len(got) != 0 {
		t.Error("the interfaces are listed for each connection")
	}
	h.listed = h.listed.Add(-interfacesValid)
	if got, _ := h.Interfaces(); len(got) != len(first) {
		t.Errorf("%d interfaces, then %d", len(first), len(got))
	}
}
