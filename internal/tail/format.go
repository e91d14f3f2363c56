package tail

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
)

// maxText is how many characters of a text are shown.
const maxText = 1000

// Format shows messages to people: one line each, with time, sender, topic and text.
type Format struct {
	Zone *time.Location
	// Escape makes a text safe for a terminal.
	Escape func(string) string
	Color  bool
}

// SGR sequences of a terminal.
const (
	dim   = "2"
	topic = "36" // cyan
)

// senders are colours for the names of senders: green, yellow, blue, magenta and the bright ones.
var senders = []string{"32", "33", "34", "35", "92", "93", "94", "95"}

// Message returns the line of a message, with a line feed.
func (f Format) Message(m textegress.Message) string {
	who, text := m.Identity, f.text(m)
	if m.Kind.IsEvent() {
		return f.line(m.UnixNS, who, "", f.paint(dim, text))
	}
	if m.CopyOf != 0 {
		text = f.paint(dim, fmt.Sprintf("(copy of line %d)", m.CopyOf))
	}
	return f.line(m.UnixNS, who, m.Topic, text)
}

// Pending returns the line of a stream that has not ended.
func (f Format) Pending(s decode.OpenStream) string {
	text := "pending: " + size(s.Size)
	if s.Total > 0 {
		text += " of " + size(int64(min(s.Total, 1<<62)))
	}
	if s.Name != "" {
		text += " of " + f.clean(s.Name)
	}
	return f.line(s.StartedUnixNS, s.Identity, s.Topic, f.paint(dim, text))
}

// line joins the parts. Only text is already clean.
func (f Format) line(unixNS int64, who, subject, text string) string {
	parts := []string{f.paint(dim, time.Unix(0, unixNS).In(f.Zone).Format("15:04:05.000"))}
	if who != "" {
		h := fnv.New32a()
		h.Write([]byte(who))
		parts = append(parts, f.paint(senders[h.Sum32()%uint32(len(senders))], f.clean(who)))
	} else {
		parts = append(parts, "-")
	}
	if subject != "" {
		parts = append(parts, f.paint(topic, f.clean(subject)))
	} else {
		parts = append(parts, "-")
	}
	return strings.Join(append(parts, text), "  ") + "\n"
}

func (f Format) paint(code, s string) string {
	if !f.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// clean returns a text as one line that is safe to show, cut if it is long.
func (f Format) clean(s string) string {
	cut := ""
	if utf8.RuneCountInString(s) > maxText {
		cut = fmt.Sprintf(" … (%s)", size(int64(len(s))))
		s = string([]rune(s)[:maxText])
	}
	s = strings.NewReplacer("\r\n", " ⏎ ", "\n", " ⏎ ", "\t", " ").Replace(s)
	return f.Escape(s) + cut
}

// text describes the content of a message.
func (f Format) text(m textegress.Message) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if m.Kind.IsEvent() {
		return f.event(m)
	}
	if r := m.RPC; r != nil {
		add("%s", f.clean(strings.TrimSpace("rpc "+r.Type+" "+r.Method)))
		if r.Error != nil {
			add("error %d %s", r.Error.Code, f.clean(r.Error.Message))
		}
	}
	if t := m.Transcription; t != nil && m.Text == nil {
		for _, s := range t.Segments {
			add("%s", f.clean(s.Text))
		}
	}
	if d := m.SIPDTMF; d != nil {
		add("dtmf %s", f.clean(d.Digit))
	}
	switch {
	case m.Text != nil:
		add("%s", f.clean(*m.Text))
	case len(m.Base64) > 0:
		add("%s, not text", size(int64(len(m.Base64))))
	case m.Withheld > 0:
		add("%s, withheld", size(m.Withheld))
	}
	if s := m.Stream; s != nil {
		if s.File != "" {
			add("file %s, %s", f.clean(s.Name), size(s.Size))
		}
		if !s.Complete {
			add("(incomplete: %s)", strings.ReplaceAll(s.Incomplete, "_", " "))
		}
	}
	if e := m.Encryption; e != nil && !e.Decrypted {
		add("(encrypted: %s)", strings.ReplaceAll(e.Reason, "_", " "))
	}
	if c := m.Chat; c != nil && c.Deleted {
		add("(deleted)")
	}
	if len(parts) == 0 {
		return string(m.Kind)
	}
	return strings.Join(parts, "  ")
}

// event describes an event of the recorder.
func (f Format) event(m textegress.Message) string {
	text := strings.ReplaceAll(string(m.Kind), "_", " ")
	e := m.Event
	if e == nil {
		return text
	}
	for _, detail := range []string{e.Status, e.Reason, e.Cause} {
		if detail != "" {
			text += ", " + f.clean(strings.ReplaceAll(detail, "_", " "))
		}
	}
	if m.Kind == textegress.KindClockStep {
		text += ", " + time.Duration(e.OffsetNS).String()
	}
	for _, d := range e.Dropped {
		text += fmt.Sprintf(", %d packets (%s)", d.Packets, strings.ReplaceAll(d.Reason, "_", " "))
	}
	return text
}

// size formats a number of bytes.
func size(n int64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%d bytes", n)
}
