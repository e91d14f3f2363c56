package overview_test

import (
	"encoding/json"
	"testing"

	"github.com/syncflow/textegress/internal/overview"
)

// FuzzWithoutText: whatever a line contains, what remains is JSON, and nothing of the text.
func FuzzWithoutText(f *testing.F) {
	f.Add([]byte(`{"n":1,"kind":"data","text":"SECRET","stream":{"name":"SECRET","id":"x"}}`))
	f.Add([]byte(`{"n":1,"stream":["SECRET"],"event":null}`))
	f.Add([]byte(`{"text":"a","text":"b","TEXT":"c"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := overview.WithoutText(line)
		if err != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(got, &all); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		for key, parts := range map[string][]string{
			"": {"text", "base64"}, "stream": {"name", "file"}, "event": {"metadata"},
		} {
			in := all
			if key != "" {
				in = nil
				if json.Unmarshal(all[key], &in) != nil {
					continue
				}
			}
			for _, p := range parts {
				if _, ok := in[p]; ok {
					t.Errorf("%s %s remains: %s", key, p, got)
				}
			}
		}
	})
}
