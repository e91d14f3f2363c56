package config_test

import (
	"slices"
	"strings"
	"testing"
)

// TestRoomPatterns: the patterns reach the service unmodified, and an invalid list never selects
// every room.
func TestRoomPatterns(t *testing.T) {
	for text, want := range map[string][]string{
		`class-*`:                    {"class-*"},
		` !test-* , * `:              {"!test-*", "*"},
		`! test,a`:                   {"!test", "a"},
		`!*`:                         {"!*"},
		`\!important,!\!secret,"",*`: {`\!important`, `!\!secret`, `""`, "*"},
		`\!`:                         {`\!`},
		`a\,b\*,!c\\`:                {`a\,b\*`, `!c\\`},
		`a!b`:                        {"a!b"},
		`\*,!x`:                      {`\*`, "!x"},
	} {
		c := mustLoad(t, append([]string{"RECORD_ROOMS=" + text}, threeSettings...), nil)
		if got := c.Projects[0].RecordRooms; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		c = mustLoad(t, append([]string{"PROJECTS__0__RECORD_ROOMS=" + text}, threeSettings...), nil)
		if got := c.Projects[0].RecordRooms; !slices.Equal(got, want) {
			t.Errorf("project, %s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"test-1,,*": "empty entry", "!": "empty entry", "!,*": "empty entry", "!!x,*": `write \!`,
		"*x": "at the end", `x\y`: "backslash", "!test-*": "excludes rooms and includes none",
		`!\*`: "includes none", "a,": "empty entry",
	} {
		for _, name := range []string{"RECORD_ROOMS", "PROJECTS__0__RECORD_ROOMS"} {
			one(t, allProblems(t, append([]string{name + "=" + text}, threeSettings...), nil),
				name+" (environment)", want)
		}
	}
}

// TestRoomsWithoutLiveKit: a list of rooms that has no effect is reported.
func TestRoomsWithoutLiveKit(t *testing.T) {
	c := mustLoad(t, []string{"RECORD_ROOMS=a"}, map[string]string{".env": predecessorEnv})
	if !strings.Contains(strings.Join(c.Warnings, "\n"), "RECORD_ROOMS has no effect") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}
