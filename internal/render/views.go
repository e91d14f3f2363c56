package render

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/syncflow/textegress"
)

// views writes the text views: the predecessor's files, one for each connection of a participant,
// byte for byte as it wrote them where a user packet holds text without a character that ends a
// line. A line is
//
//	<YYYY-MM-DDTHH:MM:SSUTC>|<unix nanoseconds>|<text>
//
// with the time of reception. Besides user packets there are chat messages and streams, each when
// it had come, and what was said. What is no text is shown as a reference to where it is.
type views struct {
	out    *output
	topic  string
	byWho  map[connection]*view
	all    []*view
	names  *names
	line   []byte
	speech *speech

	second int64  // since 1970
	stamp  []byte // how a line of that second begins
}

type view struct {
	who   connection
	nth   int     // in views.all
	ob    *object // nil: it has no line yet
	heard bool    // its lines are held back, see speech
}

// connection tells files apart: a participant who comes again has a new sid and gets a new file.
type connection struct{ identity, sid string }

func newViews(out *output, topic string) *views {
	return &views{
		out: out, topic: topic, byWho: map[connection]*view{}, names: newNames(),
		speech: newSpeech(out.sink.Scratch),
	}
}

const isoUTC = "2006-01-02T15:04:05UTC"

// shows reports whether a message is one that people read. Left out are copies of messages, what
// programs say to each other, and transcription packets, for which see speech.
func shows(m *textegress.Message) bool {
	switch m.Kind {
	case textegress.KindData, textegress.KindChat, textegress.KindByteStream:
		return m.CopyOf == 0
	case textegress.KindTextStream:
		return m.RPC == nil
	}
	return false
}

func (v *views) add(m *textegress.Message) error {
	if segments := packetSegments(m); len(segments) > 0 {
		who := v.of(m)
		who.heard = true
		for _, seg := range segments {
			v.line = append(appendText(v.begin(m), seg.Text), '\n')
			if err := v.speech.addSegment(linePacket, keyOf(m, seg.ID), who.nth,
				v.line); err != nil {
				return err
			}
		}
		return nil
	}
	if !shows(m) {
		return nil
	}
	who := v.of(m)
	v.line = append(appendContent(v.begin(m), m), '\n')
	if !isSpeech(m) {
		return v.write(who, v.line)
	}
	who.heard = true
	v.speech.streamers[who.who.speaker()] = true
	key := keyOf(m, m.Transcription.Segments[0].ID)
	if _, ok := v.speech.last[key]; ok && saysNothing(m) {
		return nil
	}
	return v.speech.addSegment(lineShown, key, who.nth, v.line)
}

func (v *views) of(m *textegress.Message) *view {
	who := connection{m.Identity, m.ParticipantSID}
	vw := v.byWho[who]
	if vw == nil {
		vw = &view{who: who, nth: len(v.all)}
		v.byWho[who] = vw
		v.all = append(v.all, vw)
	}
	return vw
}

// begin returns the beginning of a line.
func (v *views) begin(m *textegress.Message) []byte {
	if second := m.Time.Unix(); second != v.second || v.stamp == nil {
		v.second = second
		v.stamp = append(m.Time.UTC().AppendFormat(v.stamp[:0], isoUTC), '|')
	}
	line := append(v.line[:0], v.stamp...)
	return append(strconv.AppendInt(line, m.UnixNS, 10), '|')
}

func (v *views) write(vw *view, line []byte) error {
	if vw.heard {
		return v.speech.add(lineShown, vw.nth, line)
	}
	return v.show(vw, line)
}

// show writes a line to its view.
func (v *views) show(vw *view, line []byte) error {
	if vw.ob == nil {
		key := v.name(vw.who, timeOf(line))
		var err error
		if vw.ob, err = v.out.create(key, typeText,
			fmt.Sprintf("text view %d", vw.nth+1)); err != nil {
			return err
		}
	}
	return vw.ob.writeLine(line)
}

// appendContent appends what the view shows of a message.
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

// isAlmostText reports whether a payload that is not UTF-8 is still one for people, for example in
// Latin-1: it has no control characters, and three quarters of it at least are characters.
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

// name returns a name that is not taken. Two connections of one identity whose first messages came
// within the same second are told apart by the participant sid of the later one, two names that
// only differ in case or normal form by a hash.
func (v *views) name(who connection, first time.Time) string {
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

// insert puts mark before ".txt" and shortens what stands before it if the name would have more
// than 255 bytes, the limit of the usual file systems.
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

func (v *views) finish() error {
	err := v.speech.finish(func(nth int, packet bool, line []byte) error {
		if vw := v.all[nth]; !packet || !v.speech.streamers[vw.who.speaker()] {
			return v.show(vw, line)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, vw := range v.all {
		if vw.ob == nil {
			continue
		}
		if err := vw.ob.finish(); err != nil {
			return err
		}
	}
	return nil
}

// appendText appends s as one line of a text view: line feed and carriage return as \n and \r,
// everything else at which readers split lines (Python's str.splitlines and Unicode's line
// boundaries: VT, FF, FS, GS, RS, U+0085, U+2028 and U+2029) as \u and four hexadecimal digits, and
// each maximal part of an invalid sequence as one U+FFFD, like Rust's String::from_utf8_lossy,
// which the predecessor used, and Unicode's recommended practice (Unicode 16, section 3.9.6).
// strings.ToValidUTF8 makes one of a whole run, ranging over a string one of each byte.
func appendText[S string | []byte](b []byte, s S) []byte {
	for i := 0; i < len(s); {
		from := i
		for i < len(s) && s[i] < utf8.RuneSelf && !endsLine(rune(s[i])) {
			i++
		}
		if b = append(b, s[from:i]...); i == len(s) {
			break
		}
		n, valid := 1, true
		if s[i] >= utf8.RuneSelf {
			n, valid = sequence(s[i:])
		}
		r, _ := utf8.DecodeRuneInString(string(s[i : i+n]))
		switch {
		case !valid:
			b = append(b, "\uFFFD"...)
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case endsLine(r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}

// endsLine reports whether readers of text split lines at r.
func endsLine(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == '\u0085' || r == '\u2028' ||
		r == '\u2029'
}

// sequence returns the length of the UTF-8 sequence at the beginning of s, which is not ASCII, or
// of the longest part of it that could begin a valid one (Unicode 16, table 3-7), at least 1.
func sequence[S string | []byte](s S) (n int, valid bool) {
	lo, hi := byte(0x80), byte(0xbf)
	var want int
	switch c := s[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 2
	case c == 0xe0:
		want, lo = 3, 0xa0
	case c == 0xed:
		want, hi = 3, 0x9f
	case c >= 0xe1 && c <= 0xef:
		want = 3
	case c == 0xf0:
		want, lo = 4, 0x90
	case c == 0xf4:
		want, hi = 4, 0x8f
	case c >= 0xf1 && c <= 0xf3:
		want = 4
	default:
		return 1, false
	}
	for n = 1; n < want; n++ {
		if n >= len(s) || s[n] < lo || s[n] > hi {
			return n, false
		}
		lo, hi = 0x80, 0xbf
	}
	return n, true
}
