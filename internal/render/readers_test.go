package render_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// TestReadersOfLines: many readers split lines at more than line feeds, str.splitlines of Python
// for one. Whatever participants send, in whatever place, they find the lines that were written.
func TestReadersOfLines(t *testing.T) {
	const others = "\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"
	for _, c := range others + "\n" {
		text := "a" + string(c) + "z"
		r := newRecording(t, tempSpool(t), spool.Info{RoomName: text}, spool.Options{})
		r.joined(1, text)
		r.event(1, segment.Event{
			Kind: textegress.KindParticipantJoined, Identity: text, ParticipantSID: "PA_1",
			Name: text, Metadata: text,
			Attributes: map[string]string{text: text},
		})
		r.say(text, "PA_1", text, text)
		id := text
		r.packet(&livekit.DataPacket{
			ParticipantIdentity: text, ParticipantSid: "PA_1", Sequence: 2,
			Value: &livekit.DataPacket_SipDtmf{
				SipDtmf: &livekit.SipDTMF{Code: 1, Digit: text},
			},
		})
		r.packet(&livekit.DataPacket{
			ParticipantIdentity: text, ParticipantSid: "PA_1", Sequence: 3,
			Value: &livekit.DataPacket_ChatMessage{
				ChatMessage: &livekit.ChatMessage{Id: id, Message: text},
			},
		})
		r.packet(&livekit.DataPacket{
			ParticipantIdentity: text, ParticipantSid: "PA_1", Sequence: 4,
			Value: &livekit.DataPacket_StreamHeader{
				StreamHeader: &livekit.DataStream_Header{
					StreamId: id, Topic: text, MimeType: text,
					Attributes: map[string]string{text: text},
					ContentHeader: &livekit.DataStream_Header_ByteHeader{
						ByteHeader: &livekit.DataStream_ByteHeader{Name: text},
					},
				},
			},
		})
		_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "room_deleted")))
		shown := map[rune]string{'\n': `a\nz`, '\r': `a\rz`}[c]
		if shown == "" {
			shown = fmt.Sprintf(`a\u%04xz`, c)
		}
		lines := 0
		for key, data := range s.objects {
			if strings.HasSuffix(key, ".txt") || key == textegress.EventsName {
				if !strings.Contains(string(data), shown) &&
					(c != '\f' || key != textegress.EventsName) {
					t.Errorf("%+q is not shown as %s in %q:\n%+q", c, shown, key, data)
				}
				lines += strings.Count(string(data), "\n")
				if i := strings.IndexAny(string(data), others); i >= 0 {
					t.Errorf("%+q is in %q:\n%+q", c, key, data)
				}
			}
		}
		if lines < 9 {
			t.Errorf("%+q: only %d lines", c, lines)
		}
		for line := range strings.Lines(string(s.objects[textegress.EventsName])) {
			var m textegress.Message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Errorf("%+q: %v\n%+q", c, err, line)
			}
			if m.Kind == textegress.KindData && *m.Text != text {
				t.Errorf("%+q: read %+q", text, *m.Text)
			}
		}
	}
}
