package tail

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzDelivered: whatever a delivered events.jsonl contains, each of its lines becomes one line, or
// the error says which one is damaged.
func FuzzDelivered(f *testing.F) {
	f.Add([]byte(`{"n":1,"kind":"data","unix_ns":5,"text":"a\nb","topic":"\r\n"}` + "\n{}\nx"))
	f.Add([]byte(`{"kind":"text_stream","stream":{"file":"f","name":"\n"},"rpc":{"method":"\n"}}`))
	f.Add([]byte(`{"kind":"clock_step","event":{"offset_ns":5,"cause":"\n"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		err := Run(t.Context(), &out, NewDelivered(bytes.NewReader(b)), Options{
			Last: -1, Format: Format{Zone: time.UTC, Escape: func(s string) string {
				return strings.NewReplacer("\n", "", "\r", "").Replace(s)
			}},
		})
		lines := bytes.Count(b, []byte("\n"))
		if len(b) > 0 && b[len(b)-1] != '\n' {
			lines++
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); err == nil && n != lines || n > lines {
			t.Errorf("%d lines for %d, error %v:\n%q", n, lines, err, out.Bytes())
		}
	})
}
