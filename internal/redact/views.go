package redact

import (
	"bytes"
	"encoding/base64"
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// view is an unescaped form of a text. Byte i of the view represents the bytes from[i] to to[i] of
// the text.
type view struct {
	b        []byte
	from, to []int
}

// views returns s itself, and s with each escaping and each pair of escapings undone, as in a URL
// that an error quotes.
func views(s string) []view {
	raw := view{b: []byte(s)}
	for i := range raw.b {
		raw.from, raw.to = append(raw.from, i), append(raw.to, i+1)
	}
	all, level := []view{raw}, []view{raw}
	for range 2 {
		var next []view
		for _, v := range level {
			for _, unescape := range []func([]byte) (string, int){
				percent, plus, backslash,
				entity,
			} {
				if w, ok := v.undo(unescape); ok {
					next = append(next, w)
				}
			}
		}
		all, level = append(all, next...), next
	}
	return all
}

// undo returns the view with one escaping undone; ok is false if there is nothing to undo. unescape
// decodes an escape sequence at the beginning of b. It returns the decoded text and the length of
// the sequence, 0 if there is none.
func (v view) undo(unescape func(b []byte) (string, int)) (_ view, ok bool) {
	var out view
	for i := 0; i < len(v.b); {
		s, n := unescape(v.b[i:])
		if n == 0 {
			s, n = string(v.b[i:i+1]), 1
		} else {
			ok = true
		}
		for j := range len(s) {
			out.b = append(out.b, s[j])
			out.from, out.to = append(out.from, v.from[i]), append(out.to, v.to[i+n-1])
		}
		i += n
	}
	return out, ok
}

// percent decodes a URL escape.
func percent(b []byte) (string, int) {
	if len(b) < 3 || b[0] != '%' {
		return "", 0
	}
	n, err := strconv.ParseUint(string(b[1:3]), 16, 8)
	if err != nil {
		return "", 0
	}
	return string([]byte{byte(n)}), 3
}

// plus decodes an escape in the query of a URL.
func plus(b []byte) (string, int) {
	if b[0] == '+' {
		return " ", 1
	}
	return percent(b)
}

// entity decodes an XML or HTML entity.
func entity(b []byte) (string, int) {
	if b[0] != '&' {
		return "", 0
	}
	n := bytes.IndexByte(b[:min(len(b), 32)], ';') + 1
	if n == 0 {
		return "", 0
	}
	if s := html.UnescapeString(string(b[:n])); s != string(b[:n]) {
		return s, n
	}
	return "", 0
}

// backslash decodes an escape sequence of Go, JSON or C.
func backslash(b []byte) (string, int) {
	if len(b) < 2 || b[0] != '\\' {
		return "", 0
	}
	if i := strings.IndexByte("abfnrtv", b[1]); i >= 0 {
		return "\a\b\f\n\r\t\v"[i : i+1], 2
	}
	number := func(from, digits, base, bits int) (uint64, bool) {
		if len(b) < from+digits {
			return 0, false
		}
		n, err := strconv.ParseUint(string(b[from:from+digits]), base, bits)
		return n, err == nil
	}
	switch b[1] {
	case 'x':
		if n, ok := number(2, 2, 16, 8); ok {
			return string([]byte{byte(n)}), 4
		}
	case 'u':
		n, ok := number(2, 4, 16, 16)
		if !ok {
			break
		}
		if r := rune(n); !utf16.IsSurrogate(r) {
			return string(r), 6
		} else if low, ok := number(8, 4, 16, 16); ok && b[6] == '\\' && b[7] == 'u' {
			return string(utf16.DecodeRune(r, rune(low))), 12
		}
	case 'U':
		if n, ok := number(2, 8, 16, 32); ok && n <= utf8.MaxRune {
			return string(rune(n)), 10
		}
	case '0', '1', '2', '3':
		if n, ok := number(1, 3, 8, 8); ok {
			return string([]byte{byte(n)}), 4
		}
	default:
		return string(b[1:2]), 2
	}
	return "", 0
}

// minBase64 is the minimum length of a value that is searched for in base64, because the encoding
// of a shorter one may occur in other texts by chance.
const minBase64 = 6

// valueSpans returns the spans of s that contain one of the values.
func valueSpans(s string, hidden []string) []span {
	if len(hidden) == 0 {
		return nil
	}
	var spans []span
	encoded := make([][]string, len(hidden))
	for i, h := range hidden {
		if len(h) >= minBase64 && len(h) <= len(s) {
			encoded[i] = inBase64(h)
		}
	}
	for _, v := range views(s) {
		for i, h := range hidden {
			spans = v.find(spans, h, false)
			for _, e := range encoded[i] {
				spans = v.find(spans, e, true)
			}
			for n := min(len(h), len(v.b)); n >= minPrefix; n-- {
				if string(v.b[len(v.b)-n:]) == h[:n] {
					spans = append(spans, span{v.from[len(v.b)-n], len(s)})
					break
				}
			}
		}
	}
	return spans
}

// inBase64 returns the base64 encodings of a value, one for each offset in a group of three bytes,
// without the characters that depend on the bytes before and after the value.
func inBase64(value string) []string {
	var list []string
	for before := range 3 {
		b := append(make([]byte, before), value...)
		b = b[:len(b)/3*3]
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			list = append(list, enc.EncodeToString(b)[(before*8+5)/6:])
		}
	}
	return list
}

// find appends the spans of value. The span of a value in base64 includes the base64 characters
// around it.
func (v view) find(spans []span, value string, isBase64 bool) []span {
	for at := 0; ; at++ {
		i := bytes.Index(v.b[at:], []byte(value))
		if i < 0 {
			return spans
		}
		at += i
		begin, end := at, at+len(value)
		for isBase64 && begin > 0 && strings.IndexByte(base64Chars, v.b[begin-1]) >= 0 {
			begin--
		}
		for isBase64 && end < len(v.b) && strings.IndexByte(base64Chars, v.b[end]) >= 0 {
			end++
		}
		spans = append(spans, span{v.from[begin], v.to[end-1]})
	}
}

const base64Chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
