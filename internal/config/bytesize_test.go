package config

import "testing"

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"64MiB": 64 << 20, " 64 mib ": 64 << 20, "65536KiB": 64 << 20, "100kB": 100_000, "1GB": 1e9,
		"1GiB": 1 << 30,
	} {
		l := &loader{}
		if got := (field{l: l, key: "SEGMENT_SIZE", text: text}).bytes(64<<10,
			1<<30); got != want || len(l.problems) > 0 {
			t.Errorf("%q is %d, want %d; %v", text, got, want, l.problems)
		}
	}
	for n, want := range map[int64]string{
		1 << 20: "1MiB", 16 << 40: "16TiB", 1000: "1kB",
		1023: "1023 bytes",
	} {
		if got := showBytes(n); got != want {
			t.Errorf("%d is shown as %q, want %q", n, got, want)
		}
	}
}
