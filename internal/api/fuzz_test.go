package api

import "testing"

// FuzzCursor: an accepted page token, encoded again, yields the same cursor.
func FuzzCursor(f *testing.F) {
	for _, token := range []string{
		"", "!", "eA", cursor{started: 1, egressID: "DE_1"}.String(),
		cursor{started: -1 << 63, egressID: " \x00"}.String(),
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseCursor(token)
		if (c == nil) != (err != nil || token == "") {
			t.Fatalf("parseCursor(%q) = %v, %v", token, c, err)
		}
		if c == nil {
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again.compare(*c) != 0 {
			t.Errorf("%q: %v, then %v, %v", token, c, again, err)
		}
	})
}
