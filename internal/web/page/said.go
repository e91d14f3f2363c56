package page

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/statement"
	"github.com/syncflow/textegress/segment"
)

// maxSaid bounds the text of a line on the page, in bytes.
const maxSaid = 2 << 10

// said is a line of events.jsonl as the page shows it.
type said struct {
	N                int64
	Time             time.Time
	Who, Topic, Text string
	Class            string
}

// newSaid returns a line of a recording as people read it; ok is false for lines that only matter
// to programs.
func newSaid(e overview.Event) (s said, ok bool) {
	s = said{N: e.N, Time: time.Unix(0, e.UnixNS), Who: e.Identity, Topic: e.Topic}
	var m textegress.Message
	if err := json.Unmarshal(e.JSON, &m); err != nil {
		return s, false
	}
	if m.CopyOf != 0 {
		return s, false // the message is shown already
	}
	s.Text, s.Class = content(m)
	if s.Class == "" && s.Text == "" {
		s.Class, s.Text = "event", "empty message"
	}
	s.Text = truncate(maxSaid, visible(s.Text))
	return s, s.Class != hiddenLine
}

// hiddenLine is the class of lines that are not shown.
const hiddenLine = "hidden"

// content returns the text of a message, or what stands for it and the class of that.
func content(m textegress.Message) (text, class string) {
	if text, ok := happened(m); ok {
		if text == "" {
			return "", hiddenLine
		}
		return text, "event"
	}
	switch {
	case m.Stream != nil && m.Text == nil:
		what := strings.TrimSpace("file " + m.Stream.Name)
		if !m.Stream.Complete {
			what += ", incomplete"
		}
		return what + ", " + size(m.Stream.Size), "event"
	case m.RPC != nil:
		text = strings.TrimSpace(m.RPC.Type + " " + m.RPC.Method)
		if m.Text != nil && *m.Text != "" {
			return text + ": " + *m.Text, ""
		}
		return text, "event"
	case m.Text != nil:
		return *m.Text, ""
	case m.Kind == textegress.KindEncrypted:
		return "encrypted, and no key fits", "event"
	case m.Transcription != nil:
		var parts []string
		for _, s := range m.Transcription.Segments {
			parts = append(parts, s.Text)
		}
		return strings.Join(parts, " "), ""
	case m.SIPDTMF != nil:
		return "pressed " + m.SIPDTMF.Digit, "event"
	case m.Base64 != nil:
		return size(int64(len(m.Base64))) + " of binary data", "event"
	}
	return "a message of kind " + string(m.Kind), "event"
}

// happened returns an event in words, "" if it only matters to programs; ok is false for messages.
func happened(m textegress.Message) (text string, ok bool) {
	switch m.Kind {
	case segment.KindParticipantJoined:
		return "joined", true
	case segment.KindParticipantLeft:
		return "left", true
	case segment.KindJoined:
		return "recording from here on", true
	case segment.KindRecordingEnded:
		return "the recording ended", true
	case segment.KindOutageStarted:
		if m.Event != nil && m.Event.Cause != "" {
			return "outage: " + statement.Cause(m.Event.Cause), true
		}
		return "outage", true
	case segment.KindOutageEnded:
		return "the outage ended", true
	case segment.KindCorrupt:
		return "damaged data, skipped", true
	case segment.KindClockStep:
		return "the clock of the server was set", true
	case segment.KindRecordingStarted, segment.KindParticipantUpdated, segment.KindRoomUpdated,
		segment.KindDataTrackSubscribed, segment.KindRecorderAway, segment.KindRecorderBack,
		segment.KindSelection, segment.KindDropped, segment.KindForgotten:
		return "", true
	}
	return "", false
}

// visible replaces characters that would change how other text is shown.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case unicode.IsControl(c), c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069:
			return '·'
		}
		return c
	}, s)
}

// said implements the line that stands for others that came too fast.
func skipped(n int, at time.Time) said {
	return said{
		Time: at, Class: "event",
		Text: fmt.Sprintf("%s more, too fast to read; all are recorded", count(n, "line", "lines")),
	}
}
