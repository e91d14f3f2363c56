package roomtest

import (
	"testing"

	"github.com/syncflow/textegress/devstack"
	"github.com/syncflow/textegress/internal/room"
)

// TestProbe: real servers that have /rtc/v1 refuse us there for want of a token.
func TestProbe(t *testing.T) {
	c, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, l *devstack.LiveKit) {
		if err := c.Probe(t.Context(), l.URL); err != nil {
			t.Error(err)
		}
	})
}
