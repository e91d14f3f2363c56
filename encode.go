package textegress

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// This file replaces encoding/json for the types of a line of events.jsonl: with encoding/json,
// writing the lines took a third of an export's time. The encoders are built from the struct tags
// of [Message], the only place that spells the keys. The output is that of encoding/json without
// HTML escaping, with two exceptions: a [time.Time] is written as a [Timestamp], and U+0085 is
// escaped, because many line readers split at it. A test and a fuzz target compare the two for
// every field.

// encoder appends the JSON of a value to b.
type encoder func(b []byte, v reflect.Value) []byte

// line is a Message with an encoder for each field. An encoder appends the key and the value, or
// nothing. The common types are read through a pointer, without reflection.
type line struct {
	message Message
	fields  []func(b []byte) []byte
}

var lines = sync.Pool{New: func() any {
	l := &line{}
	v := reflect.ValueOf(&l.message).Elem()
	for i, f := range fieldsOfStruct(v.Type()) {
		if i > 0 {
			f.key = "," + f.key
		}
		l.fields = append(l.fields, f.bind(v.Field(f.index)))
	}
	return l
}}

func appendMessage(b []byte, m *Message) []byte {
	l := lines.Get().(*line) //nolint:errcheck // nothing else is in the pool
	l.message = *m
	b = append(b, '{')
	for _, f := range l.fields {
		b = f(b)
	}
	l.message = Message{}
	lines.Put(l)
	return append(b, '}')
}

// bind returns the encoder of the field that v represents.
func (f field) bind(v reflect.Value) func(b []byte) []byte {
	switch p := v.Addr().Interface().(type) {
	case *string:
		return bindTo(f, p, appendString)
	case *Kind:
		return bindTo(f, p, func(b []byte, k Kind) []byte { return appendString(b, string(k)) })
	case **string:
		return bindTo(f, p, func(b []byte, s *string) []byte { return appendString(b, *s) })
	case *int:
		return bindTo(f, p, func(b []byte, n int) []byte {
			return strconv.AppendInt(b, int64(n),
				10)
		})
	case *int64:
		return bindTo(f, p, func(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) })
	case *uint32:
		return bindTo(f, p, func(b []byte, n uint32) []byte {
			return strconv.AppendUint(b, uint64(n), 10)
		})
	case **bool:
		return bindTo(f, p, func(b []byte, v *bool) []byte { return strconv.AppendBool(b, *v) })
	case *time.Time:
		return bindTo(f, p, func(b []byte, t time.Time) []byte {
			return appendTimestamp(b, t.UnixNano())
		})
	}
	nillable := v.Kind() == reflect.Pointer
	return func(b []byte) []byte {
		if f.omitEmpty && (nillable && v.IsNil() || !nillable && isEmpty(v)) {
			return b
		}
		return f.encode(append(b, f.key...), v)
	}
}

func bindTo[T comparable](f field, p *T, value func([]byte, T) []byte) func([]byte) []byte {
	var zero T
	return func(b []byte) []byte {
		if f.omitEmpty && *p == zero {
			return b
		}
		return value(append(b, f.key...), *p)
	}
}

// compile returns the encoder of t. It panics for a type that no line contains.
func compile(t reflect.Type) encoder {
	switch t {
	case reflect.TypeFor[time.Time]():
		return func(b []byte, v reflect.Value) []byte {
			return appendTimestamp(b, v.Addr().Interface().(*time.Time).UnixNano())
		}
	case reflect.TypeFor[[]byte]():
		return appendBytes
	}
	switch t.Kind() {
	case reflect.String:
		return func(b []byte, v reflect.Value) []byte { return appendString(b, v.String()) }
	case reflect.Bool:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendBool(b, v.Bool()) }
	case reflect.Int, reflect.Int32, reflect.Int64:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendInt(b, v.Int(), 10) }
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendUint(b, v.Uint(), 10) }
	case reflect.Pointer:
		return orNull(func(element encoder) encoder {
			return func(b []byte, v reflect.Value) []byte { return element(b, v.Elem()) }
		}(compile(t.Elem())))
	case reflect.Slice:
		return orNull(listEncoder(compile(t.Elem())))
	case reflect.Map:
		return orNull(mapEncoder(compile(t.Elem())))
	case reflect.Struct:
		return structEncoder(t)
	}
	panic(fmt.Sprintf("textegress: no encoder for the type %v", t))
}

func orNull(e encoder) encoder {
	return func(b []byte, v reflect.Value) []byte {
		if v.IsNil() {
			return append(b, "null"...)
		}
		return e(b, v)
	}
}

func appendBytes(b []byte, v reflect.Value) []byte {
	if v.IsNil() {
		return append(b, "null"...)
	}
	b = base64.StdEncoding.AppendEncode(append(b, '"'), v.Bytes())
	return append(b, '"')
}

func listEncoder(element encoder) encoder {
	return func(b []byte, v reflect.Value) []byte {
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = element(b, v.Index(i))
		}
		return append(b, ']')
	}
}

// mapEncoder encodes a map with keys of kind string, sorted by key.
func mapEncoder(element encoder) encoder {
	return func(b []byte, v reflect.Value) []byte {
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int {
			return strings.Compare(x.String(), y.String())
		})
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k.String()), ':')
			b = element(b, v.MapIndex(k))
		}
		return append(b, '}')
	}
}

type field struct {
	index     int
	key       string // with its quotes and colon
	omitEmpty bool
	encode    encoder
}

func fieldsOfStruct(t reflect.Type) (fields []field) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, field{
			index: f.Index[0], key: `"` + name + `":`, omitEmpty: options == "omitempty",
			encode: compile(f.Type),
		})
	}
	return fields
}

func structEncoder(t reflect.Type) encoder {
	fields := fieldsOfStruct(t)
	return func(b []byte, v reflect.Value) []byte {
		b = append(b, '{')
		first := true
		for i := range fields {
			f := &fields[i]
			value := v.Field(f.index)
			if f.omitEmpty && isEmpty(value) {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = f.encode(append(b, f.key...), value)
		}
		return append(b, '}')
	}
}

// isEmpty reports whether the option omitempty leaves v out.
func isEmpty(v reflect.Value) bool {
	if k := v.Kind(); k == reflect.Slice || k == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

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

// asIs marks the bytes that need no escape in a JSON string.
var asIs = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
	}
	return t
}()

// appendString appends s as a JSON string: as in encoding/json without HTML escaping, bytes that
// are not UTF-8 become \ufffd, and U+2028 and U+2029 are escaped. U+0085 is escaped as well.
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
