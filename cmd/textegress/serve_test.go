package main

import (
	"runtime/debug"
	"testing"
)

// TestSetGCPercent: what the user has set stands.
func TestSetGCPercent(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for _, tt := range []struct {
		env  string
		want int
	}{{"100", 77}, {"off", 77}, {"", gcPercent}} {
		t.Setenv("GOGC", tt.env)
		setGCPercent()
		if got := debug.SetGCPercent(77); got != tt.want {
			t.Errorf("GOGC=%q: %d, want %d", tt.env, got, tt.want)
		}
	}
}
