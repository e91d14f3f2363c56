package render

import (
	"fmt"
	"unicode/utf8"
)

// appendText appends s as one line of a text view: line feed and carriage return as \n and \r, all
// other characters at which readers split lines (Python's str.splitlines and Unicode's line
// boundaries: VT, FF, FS, GS, RS, U+0085, U+2028 and U+2029) as \u and four hexadecimal digits, and
// each maximal part of an invalid sequence as one U+FFFD, like Rust's String::from_utf8_lossy,
// which the predecessor used, and Unicode's recommended practice (Unicode 16, section 3.9.6).
// strings.ToValidUTF8 would give one U+FFFD for a whole run, and ranging over a string one for each
// byte.
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

// endsLine reports whether text readers split lines at r.
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
