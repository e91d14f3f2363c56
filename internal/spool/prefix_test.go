package spool

import "testing"

func TestRoomPrefix(t *testing.T) {
	i := Info{EgressID: "DE_abcdefghijkl", RoomName: "a/b", ProjectName: "p"}
	if got := i.RoomPrefix("p"); got != "p/a%2Fb/data-egress/DE_abcdefghijkl/" {
		t.Error(got)
	}
	i.Prefix = "x/../y z"
	if got := i.RoomPrefix("p"); got != "p/x/%2E%2E/y z/DE_abcdefghijkl/" {
		t.Error(got)
	}
}

func TestPrefixOf(t *testing.T) {
	const id, other = "DE_abcdefghijkl", "DE_ABCDEFGHIJKL"
	for prefix, want := range map[string]string{
		"p/room/data-egress/" + id + "/": "p/room/data-egress/" + other + "/",
		"p/x/" + id + "/":                "p/x/" + other + "/",
		"n-1/room/text-egress/all-topics/" + id + "/": "n-1/room/text-egress/all-topics/" + other +
			"/",
		"edited/": "n-1/room/text-egress/all-topics/" + other + "/",
	} {
		i := Info{
			EgressID: id, ProjectName: "n", ProjectID: "1", RoomName: "room", KeyPrefix: prefix,
			Prefix: "x",
		}
		if got := i.PrefixOf(other); got != want {
			t.Errorf("beside %q: %q, want %q", prefix, got, want)
		}
	}
}

// TestOwnPrefix: a key prefix that could be within another recording is replaced.
func TestOwnPrefix(t *testing.T) {
	const own, other = "DE_abcdefghijkl", "DE_ABCDEFGHIJKL"
	for _, c := range []struct {
		prefix string
		chosen string // prefix of the request
		own    bool
	}{
		{"p-1/room/text-egress/all-topics/" + own + "/", "", true},
		{"p-1/" + other + "/text-egress/all-topics/" + own + "/", "", true},
		{"p/room/data-egress/" + own + "/", "", true},
		{"p/" + other + "/data-egress/" + own + "/", "", true},
		{"p/x/y/" + own + "/", "x/y", true},
		{"p/x/y/z/a/b/c/" + own + "/", "x/y/z/a/b/c", true},
		{"p/x/y/z/a/b/c/" + own, "x/y/z/a/b/c", false},
		{"p/x/" + own + "/", "", false},
		{"p/q/r/" + own + "/", "", false},
		{"p/x/" + other + "/" + own + "/", "x/" + other, false},
		{"p/x/" + other + "/", "x", false},
		{"p/room/data-egress/" + other + "/" + own + "/", "x", false},
		{"p/../data-egress/" + own + "/", "", false},
		{"p//data-egress/" + own + "/", "", false},
		{"/p/room/data-egress/" + own + "/", "", false},
		{own + "/", "x", false},
		{"", "x", false},
		{"p-1/room/text-egress/all-topics/" + other + "/" + own + "/", "", false},
	} {
		i := Info{EgressID: own, KeyPrefix: c.prefix, Prefix: c.chosen}
		if got := i.WithOwnPrefix().KeyPrefix == c.prefix; got != c.own {
			t.Errorf("%q, chosen %q: own is %v", c.prefix, c.chosen, got)
		}
	}
}
