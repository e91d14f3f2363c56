package soak

import (
	"bytes"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	begin := state{heap: 10 << 20, goroutines: 100, files: 30, disk: 16 << 20, traces: 50}
	with := func(f func(*state)) state {
		s := begin
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		end  state
		want string // "" is inside
	}{
		"the same": {begin, ""},
		"less":     {state{}, ""},
		"as much more as is allowed": {with(func(s *state) {
			s.heap += 1 << 20
			s.goroutines += 8
			s.files += 8
			s.disk += 512 << 10
		}), ""},
		"much heap": {
			with(func(s *state) { s.heap += 1<<20 + 1<<12 }),
			"the live heap grew",
		},
		"a goroutine for each room": {with(func(s *state) { s.goroutines += 9 }), "goroutines"},
		"a file for each recording": {with(func(s *state) { s.files += 9 }), "open files"},
		"data that is not removed": {
			with(func(s *state) { s.disk += 513 << 10 }),
			"data directory",
		},
		"traces": {
			with(func(s *state) { s.traces += 1000; s.heap += 2 << 20; s.disk += 15 << 20 }), "",
		},
		"more than traces": {
			with(func(s *state) { s.traces += 1000; s.heap += 4 << 20 }), "the live heap grew",
		},
		"resident memory is no state": {with(func(s *state) { s.rss = 1 << 40 }), ""},
	} {
		var out bytes.Buffer
		err := verdict(&out, begin, c.end)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if said := strings.Contains(out.String(), "Nothing grew"); said != (c.want == "") {
			t.Errorf("%s: the output says so: %v\n%s", name, said, &out)
		}
	}
}
