package render_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/segment"
)

// A recorder's state makes no line, and changes none.
func TestStatesAreInNoLine(t *testing.T) {
	lines := func(types ...segment.FrameType) (out []textegress.Message) {
		d := render.NewLineDecoder(decode.Options{})
		defer d.Close()
		emit := func(l *decode.Line) error {
			out = append(out, l.Message)
			return nil
		}
		for _, typ := range types {
			f := segment.Frame{Type: typ, UnixNS: 1, Epoch: 1}
			switch typ {
			case segment.FrameEvent:
				f.Payload = []byte(`{"kind":"joined","room_sid":"RM_1"}`)
			case segment.FramePacket:
				f.Channel = segment.ChannelReliable
			default:
				f.Payload = []byte(`{"kind":"joined","present":[{"identity":"alice"}]}`)
			}
			if err := d.Frame(f, emit); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.End(emit); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := lines(segment.FrameEvent, segment.FramePacket)
	got := lines(segment.FrameEvent, segment.FrameState, segment.FramePacket, segment.FrameState,
		segment.FrameState+1) // of a later version
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines without and with states (-without +with):\n%s", d)
	}
}
