package textegress

import (
	"bytes"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// A line of events.jsonl is written by hand: with encoding/json, writing the
// lines took a third of the time of an export. The result is what encoding/json
// makes of wireMessage, byte for byte but for U+0085, which is escaped here: many
// readers of lines split at it. Tests hold the two against each other for every
// field.

// appendMessage appends m as one line, without the newline. unixNS is m.UnixNS,
// or what stands for it.
func appendMessage(b []byte, m *Message, unixNS int64) ([]byte, error) {
	b = append(b, `{"n":`...)
	b = strconv.AppendInt(b, m.N, 10)
	b = appendString(append(b, `,"kind":`...), string(m.Kind))
	b = appendTimestamp(append(b, `,"time":`...), unixNS)
	b = strconv.AppendInt(append(b, `,"unix_ns":`...), unixNS, 10)
	b = textIf(b, `,"identity":`, m.Identity)
	b = textIf(b, `,"participant_sid":`, m.ParticipantSID)
	b = textIf(b, `,"topic":`, m.Topic)
	if m.Reliable != nil {
		b = strconv.AppendBool(append(b, `,"reliable":`...), *m.Reliable)
	}
	b = uintIf(b, `,"sequence":`, uint64(m.Sequence))
	b = intIf(b, `,"epoch":`, int64(m.Epoch))
	b = trueIf(b, `,"possible_duplicate":`, m.PossibleDuplicate)
	if m.Text != nil {
		b = appendString(append(b, `,"text":`...), *m.Text)
	}
	b = bytesIf(b, `,"base64":`, m.Base64)
	b = intIf(b, `,"withheld":`, m.Withheld)
	b = intIf(b, `,"field":`, int64(m.Field))
	b = textIf(b, `,"field_name":`, m.FieldName)
	b = appendUser(b, m.User)
	b = appendChat(b, m.Chat)
	b = appendTranscription(b, m.Transcription)
	b = appendRPC(b, m.RPC)
	var err error
	if m.SIPDTMF != nil {
		if b, err = appendEncoded(append(b, `,"sip_dtmf":`...), m.SIPDTMF); err != nil {
			return b, err
		}
	}
	b = appendStream(b, m.Stream)
	if m.Track != nil {
		if b, err = appendEncoded(append(b, `,"track":`...), m.Track); err != nil {
			return b, err
		}
	}
	if m.Event != nil {
		e := m.Event
		if e.Kind != "" { // it is that of the line
			bare := *e
			bare.Kind = ""
			e = &bare
		}
		if b, err = appendEncoded(append(b, `,"event":`...), e); err != nil {
			return b, err
		}
	}
	b = listIf(b, `,"destination_identities":`, m.DestinationIdentities)
	if e := m.Encryption; e != nil {
		b = appendString(append(b, `,"encryption":{"type":`...), e.Type)
		b = strconv.AppendUint(append(b, `,"key_index":`...), uint64(e.KeyIndex), 10)
		b = strconv.AppendBool(append(b, `,"decrypted":`...), e.Decrypted)
		b = append(textIf(b, `,"reason":`, e.Reason), '}')
	}
	b = intIf(b, `,"copy_of":`, m.CopyOf)
	return append(b, '}'), nil
}

func appendUser(b []byte, u *UserInfo) []byte {
	if u == nil {
		return b
	}
	b, start := open(b, `,"user":{`)
	b = textIf(b, `,"id":`, u.ID)
	b = bytesIf(b, `,"nonce":`, u.Nonce)
	b = uintOf(b, `,"start_time":`, u.StartTime)
	b = uintOf(b, `,"end_time":`, u.EndTime)
	return closed(b, start)
}

func appendChat(b []byte, c *ChatInfo) []byte {
	if c == nil {
		return b
	}
	b, start := open(b, `,"chat":{`)
	b = textIf(b, `,"id":`, c.ID)
	b = intIf(b, `,"timestamp_ms":`, c.TimestampMS)
	b = intIf(b, `,"edit_timestamp_ms":`, c.EditTimestampMS)
	b = trueIf(b, `,"deleted":`, c.Deleted)
	b = trueIf(b, `,"generated":`, c.Generated)
	return closed(b, start)
}

func appendTranscription(b []byte, t *TranscriptionInfo) []byte {
	if t == nil {
		return b
	}
	b, start := open(b, `,"transcription":{`)
	b = textIf(b, `,"participant_identity":`, t.ParticipantIdentity)
	b = textIf(b, `,"track_id":`, t.TrackID)
	if len(t.Segments) > 0 {
		b = append(b, `,"segments":[`...)
		for i := range t.Segments {
			if i > 0 {
				b = append(b, ',')
			}
			s := &t.Segments[i]
			var inner int
			b, inner = open(b, `{`)
			b = textIf(b, `,"id":`, s.ID)
			b = textIf(b, `,"text":`, s.Text)
			b = uintIf(b, `,"start_time":`, s.StartTime)
			b = uintIf(b, `,"end_time":`, s.EndTime)
			b = strconv.AppendBool(append(b, `,"final":`...), s.Final)
			b = textIf(b, `,"language":`, s.Language)
			b = closed(b, inner)
		}
		b = append(b, ']')
	}
	return closed(b, start)
}

func appendRPC(b []byte, r *RPCInfo) []byte {
	if r == nil {
		return b
	}
	b = appendString(append(b, `,"rpc":{"type":`...), r.Type)
	b = textIf(b, `,"id":`, r.ID)
	b = textIf(b, `,"method":`, r.Method)
	b = uintIf(b, `,"timeout_ms":`, uint64(r.TimeoutMS))
	b = uintIf(b, `,"version":`, uint64(r.Version))
	b = trueIf(b, `,"compressed":`, r.Compressed)
	if e := r.Error; e != nil {
		b = strconv.AppendUint(append(b, `,"error":{"code":`...), uint64(e.Code), 10)
		b = textIf(b, `,"message":`, e.Message)
		b = append(textIf(b, `,"data":`, e.Data), '}')
	}
	return append(b, '}')
}

func appendStream(b []byte, s *StreamInfo) []byte {
	if s == nil {
		return b
	}
	b = appendString(append(b, `,"stream":{"id":`...), s.ID)
	b = textIf(b, `,"mime_type":`, s.MIMEType)
	b = textIf(b, `,"name":`, s.Name)
	b = uintOf(b, `,"total_length":`, s.TotalLength)
	b = textIf(b, `,"length_unit":`, s.LengthUnit)
	if len(s.Attributes) > 0 {
		b = append(b, `,"attributes":{`...)
		for i, k := range slices.Sorted(maps.Keys(s.Attributes)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			b = appendString(b, s.Attributes[k])
		}
		b = append(b, '}')
	}
	b = strconv.AppendBool(append(b, `,"complete":`...), s.Complete)
	b = textIf(b, `,"incomplete":`, s.Incomplete)
	b = intIf(b, `,"sent_ms":`, s.SentMS)
	b = intIf(b, `,"started_unix_ns":`, s.StartedUnixNS)
	b = strconv.AppendInt(append(b, `,"size":`...), s.Size, 10)
	b = textIf(b, `,"file":`, s.File)
	b = textIf(b, `,"operation":`, s.Operation)
	b = intIf(b, `,"version":`, int64(s.Version))
	b = textIf(b, `,"reply_to":`, s.ReplyTo)
	b = listIf(b, `,"attached_stream_ids":`, s.AttachedStreamIDs)
	b = trueIf(b, `,"generated":`, s.Generated)
	b = textIf(b, `,"trailer_reason":`, s.TrailerReason)
	b = trueIf(b, `,"inline":`, s.Inline)
	b = textIf(b, `,"compression":`, s.Compression)
	b = textIf(b, `,"encoding":`, s.Encoding)
	b = uintIf(b, `,"chunks":`, s.Chunks)
	b = uintIf(b, `,"chunks_missing":`, s.ChunksMissing)
	b = uintIf(b, `,"chunks_ignored":`, s.ChunksIgnored)
	b = uintIf(b, `,"first_chunk":`, s.FirstChunk)
	b = listIf(b, `,"continued_by":`, s.ContinuedBy)
	return append(b, '}')
}

// open begins an object of which no key need be there; closed ends it, and
// removes the comma before its first key.
func open(b []byte, begin string) (_ []byte, start int) {
	b = append(b, begin...)
	return b, len(b)
}

func closed(b []byte, start int) []byte {
	if len(b) > start {
		b = slices.Delete(b, start, start+1)
	}
	return append(b, '}')
}

func textIf(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, key...), s)
}

func intIf(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), n, 10)
}

func uintIf(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(append(b, key...), n, 10)
}

func uintOf(b []byte, key string, n *uint64) []byte {
	if n == nil {
		return b
	}
	return strconv.AppendUint(append(b, key...), *n, 10)
}

func trueIf(b []byte, key string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(b, key...), "true"...)
}

func bytesIf(b []byte, key string, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(append(b, key...), '"')
	return append(base64.StdEncoding.AppendEncode(b, v), '"')
}

func listIf(b []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(append(b, key...), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendEncoded leaves what is rare to encoding/json.
func appendEncoded(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	if err := encodeJSON(buf, "", v); err != nil {
		return b, err
	}
	out := buf.Bytes()
	out = out[:len(out)-1] // the encoder's newline
	if value := out[len(b):]; bytes.Contains(value, nextLine) {
		out = append(b, bytes.ReplaceAll(value, nextLine, []byte(`\u0085`))...)
	}
	return out, nil
}

// nextLine is U+0085. In JSON it can only be a part of a string.
var nextLine = []byte("\u0085")

// appendTimestamp appends a [Timestamp].
func appendTimestamp(b []byte, unixNS int64) []byte {
	t := time.Unix(0, unixNS).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, '"')
	b = digits(b, year, 4) // nanoseconds in an int64 reach from 1677 to 2262
	b = digits(append(b, '-'), int(month), 2)
	b = digits(append(b, '-'), day, 2)
	b = digits(append(b, 'T'), hour, 2)
	b = digits(append(b, ':'), minute, 2)
	b = digits(append(b, ':'), second, 2)
	b = digits(append(b, '.'), t.Nanosecond(), 9)
	return append(b, `Z"`...)
}

func digits(b []byte, n, width int) []byte {
	const zeros = "000000000"
	b = append(b, zeros[:width]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// asIs tells which bytes stand for themselves in a JSON string.
var asIs = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
	}
	return t
}()

// appendString appends s as a JSON string: like encoding/json without HTML
// escaping, bytes that are not UTF-8 become \ufffd, and U+2028 and U+2029 are
// escaped; U+0085 is, too.
func appendString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if asIs[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\b':
				b = append(b, `\b`...)
			case '\f':
				b = append(b, `\f`...)
			case '\n':
				b = append(b, `\n`...)
			case '\r':
				b = append(b, `\r`...)
			case '\t':
				b = append(b, `\t`...)
			default:
				b = append(b, `\u00`...)
				b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
			from = i + n
		case r == '\u0085':
			b = append(append(b, s[from:i]...), `\u0085`...)
			from = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
			from = i + n
		}
		i += n
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
