package render

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// textView writes the text views: the predecessor's files, one for each connection of a
// participant. A user packet of text without line-ending characters gives the same bytes as in the
// predecessor's file. A line is
//
//	<YYYY-MM-DDTHH:MM:SSUTC>|<unix nanoseconds>|<text>
//
// with the time of reception. Besides user packets, the view shows chat messages, streams when they
// are complete, and speech. It shows non-text payloads as references.
type textView struct {
	out    *Output
	topic  string
	byWho  map[connection]*textFile
	all    []*textFile
	names  *names
	line   []byte
	speech *speech

	second int64  // since 1970
	stamp  []byte // prefix of a line of that second
}

// textFile is the file of one connection.
type textFile struct {
	who      connection
	nth      int     // in textView.all
	ob       *Object // nil: no line yet
	deferred bool    // lines are held back, see speech
}

// connection identifies a file: a participant that rejoins has a new sid and gets a new file.
type connection struct{ identity, sid string }

func newTextView() *textView {
	return &textView{byWho: map[connection]*textFile{}, names: newNames()}
}

// Begin implements [View].
func (v *textView) Begin(info spool.Info, out *Output) error {
	v.out, v.topic, v.speech = out, info.Topic, newSpeech(out.Scratch)
	return nil
}

const isoUTC = "2006-01-02T15:04:05UTC"

// shows reports whether a message is meant for human readers. Copies, messages between programs and
// transcription packets (see speech) are not.
func shows(m *textegress.Message) bool {
	switch m.Kind {
	case textegress.KindData, textegress.KindChat, textegress.KindByteStream:
		return m.CopyOf == 0
	case textegress.KindTextStream:
		return m.RPC == nil
	}
	return false
}

// Line implements [View].
func (v *textView) Line(l *decode.Line) error {
	m := &l.Message
	if segments := packetSegments(m); len(segments) > 0 {
		file := v.file(m)
		file.deferred = true
		for _, seg := range segments {
			v.line = append(appendText(v.prefix(m), seg.Text), '\n')
			if err := v.speech.addSegment(linePacket, keyOf(m, seg.ID), file.nth,
				v.line); err != nil {
				return err
			}
		}
		return nil
	}
	if !shows(m) {
		return nil
	}
	file := v.file(m)
	v.line = append(appendContent(v.prefix(m), m), '\n')
	if !isSpeech(m) {
		return v.write(file, v.line)
	}
	file.deferred = true
	v.speech.streamers[file.who.speaker()] = true
	key := keyOf(m, m.Transcription.Segments[0].ID)
	if _, ok := v.speech.last[key]; ok && saysNothing(m) {
		return nil
	}
	return v.speech.addSegment(lineShown, key, file.nth, v.line)
}

func (v *textView) file(m *textegress.Message) *textFile {
	who := connection{m.Identity, m.ParticipantSID}
	f := v.byWho[who]
	if f == nil {
		f = &textFile{who: who, nth: len(v.all)}
		v.byWho[who] = f
		v.all = append(v.all, f)
	}
	return f
}

// prefix returns the part of a line before its text.
func (v *textView) prefix(m *textegress.Message) []byte {
	if second := m.Time.Unix(); second != v.second || v.stamp == nil {
		v.second = second
		v.stamp = append(m.Time.UTC().AppendFormat(v.stamp[:0], isoUTC), '|')
	}
	line := append(v.line[:0], v.stamp...)
	return append(strconv.AppendInt(line, m.UnixNS, 10), '|')
}

func (v *textView) write(f *textFile, line []byte) error {
	if f.deferred {
		return v.speech.add(lineShown, f.nth, line)
	}
	return v.show(f, line)
}

// show writes a line to its view.
func (v *textView) show(f *textFile, line []byte) error {
	if f.ob == nil {
		key := v.name(f.who, timeOf(line))
		f.ob = v.out.Create(key, typeText, fmt.Sprintf("text view %d", f.nth+1))
	}
	return f.ob.WriteLine(line)
}

// appendContent appends the content of a message in the form shown in the view.
func appendContent(b []byte, m *textegress.Message) []byte {
	switch {
	case m.Text != nil:
		b = appendText(b, *m.Text)
	case m.Base64 != nil && isAlmostText(m.Base64):
		b = appendText(b, m.Base64)
	case m.Stream == nil:
		return fmt.Appendf(b, "[binary data, %d bytes: n %d in events.jsonl]", len(m.Base64), m.N)
	}
	s := m.Stream
	if s == nil {
		return b
	}
	if m.Payload() == nil {
		b = append(b, '[')
		if s.Name != "" {
			b = append(appendText(b, s.Name), ", "...)
		}
		if s.MIMEType != "" {
			b = append(appendText(b, s.MIMEType), ", "...)
		}
		b = fmt.Appendf(b, "%d bytes: ", s.Size)
		switch {
		case s.File != "":
			b = appendText(b, s.File)
		default:
			b = fmt.Appendf(b, "n %d in events.jsonl", m.N)
		}
		b = append(b, ']')
	} else if m.Text == nil && !isAlmostText(m.Base64) {
		b = fmt.Appendf(b, "[binary data, %d bytes: n %d in events.jsonl]", len(m.Base64), m.N)
	}
	if !s.Complete && s.Incomplete != textegress.StreamUnproved {
		b = fmt.Appendf(b, " [incomplete: %s]", s.Incomplete)
	}
	return b
}

// isAlmostText reports whether a payload that is not UTF-8 is still text, for example in Latin-1:
// it has no control characters, and at least three quarters of it are characters.
func isAlmostText(b []byte) bool {
	bad := 0
	for i := 0; i < len(b); {
		c := b[i]
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
		n, valid := 1, true
		if c >= utf8.RuneSelf {
			n, valid = sequence(b[i:])
		}
		if !valid {
			bad += n
		}
		i += n
	}
	return 4*bad <= len(b)
}

// name returns an unused name. Two connections of one identity whose first messages came within the
// same second are distinguished by the participant sid of the later one, two names that differ only
// in case or normal form by a hash.
func (v *textView) name(who connection, first time.Time) string {
	name := textegress.TextViewName(who.identity, v.topic, first)
	switch {
	case v.names.has(name) && who.sid != "":
		name = insert(name, "~"+textegress.EscapeName(who.sid))
	case !v.names.has(name) && v.names.taken(name):
		name = insert(name, hashMark(name))
	}
	for i, base := 2, name; v.names.taken(name); i++ {
		name = insert(base, "~"+strconv.Itoa(i))
	}
	v.names.take(name)
	return name
}

// insert inserts mark before ".txt". It shortens the part before it if the name would have more
// than 255 bytes, the limit of common file systems.
func insert(name, mark string) string {
	const ext = ".txt"
	const limit = 255
	base := name[:len(name)-len(ext)]
	mark = cut(mark, limit/2)
	return cut(base, limit-len(mark)-len(ext)) + mark + ext
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// End implements [View].
func (v *textView) End(textegress.Manifest) error {
	err := v.speech.finish(func(nth int, packet bool, line []byte) error {
		if f := v.all[nth]; !packet || !v.speech.streamers[f.who.speaker()] {
			return v.show(f, line)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range v.all {
		if f.ob == nil {
			continue
		}
		if err := f.ob.Close(); err != nil {
			return err
		}
	}
	return nil
}
