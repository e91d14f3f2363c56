package textegress

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds of DecodeJSON. The manifest of a recording with 600,000 objects stays within them.
const (
	maxJSONDepth  = 100
	maxJSONValues = 1 << 22
)

// DecodeJSON decodes one JSON value into v, like [json.Unmarshal], but refuses input that two
// readers could interpret differently: a repeated key in one object, a known key in a different
// case (encoding/json takes "Status" for "status"), and bytes that are not UTF-8. It also refuses,
// before decoding, more values or deeper nesting than any recording contains. Unknown keys are
// ignored.
func DecodeJSON(b []byte, v any) error {
	if err := boundJSON(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	return exactKeys(b, reflect.TypeOf(v))
}

// boundJSON counts values and depth; b need not be valid JSON.
func boundJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	depth, values := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			depth++
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if depth > maxJSONDepth {
			return fmt.Errorf("nested deeper than %d", maxJSONDepth)
		}
		if values > maxJSONValues {
			return fmt.Errorf("more than %d values", maxJSONValues)
		}
	}
	return nil
}

// stringEnd returns the position after the string that starts at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// exactKeys checks the keys of every object in b, which is valid JSON and was
// decoded into a value of type t.
func exactKeys(b []byte, t reflect.Type) error {
	w := keyWalk{b: b}
	return w.value(t)
}

type keyWalk struct {
	b []byte
	i int
}

// space skips white space and separators and returns the next byte.
func (w *keyWalk) space() byte {
	for {
		switch c := w.b[w.i]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			w.i++
		default:
			return c
		}
	}
}

func (w *keyWalk) value(t reflect.Type) error {
	t = plainType(t)
	switch w.space() {
	case '{':
		return w.object(t)
	case '[':
		var elem reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			elem = t.Elem()
		}
		for w.i++; w.space() != ']'; {
			if err := w.value(elem); err != nil {
				return err
			}
		}
		w.i++
	case '"':
		w.i = stringEnd(w.b, w.i)
	default: // a number, true, false or null
		for w.i < len(w.b) && !strings.ContainsRune(",]} \t\r\n", rune(w.b[w.i])) {
			w.i++
		}
	}
	return nil
}

func (w *keyWalk) object(t reflect.Type) error {
	var known map[string]reflect.Type
	var elem reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		known = fieldsOf(t)
	case t.Kind() == reflect.Map:
		elem = t.Elem()
	}
	var few [16]string
	seen, many := few[:0], map[string]bool(nil)
	for w.i++; w.space() != '}'; {
		key, err := w.key()
		if err != nil {
			return err
		}
		twice := many[key]
		for _, k := range seen {
			twice = twice || k == key
		}
		if twice {
			return fmt.Errorf("the key %q stands twice in one object", key)
		}
		if len(seen) < len(few) {
			seen = append(seen, key)
		} else {
			if many == nil {
				many = map[string]bool{}
			}
			many[key] = true
		}
		next, ok := known[key]
		if !ok {
			next = elem
			for name := range known {
				if strings.EqualFold(name, key) {
					return fmt.Errorf("the key %q is written %q", name, key)
				}
			}
		}
		if err := w.value(next); err != nil {
			return err
		}
	}
	w.i++
	return nil
}

func (w *keyWalk) key() (string, error) {
	from := w.i
	w.i = stringEnd(w.b, w.i)
	raw := w.b[from:w.i]
	if !strings.Contains(string(raw), `\`) {
		return string(raw[1 : len(raw)-1]), nil
	}
	var key string
	err := json.Unmarshal(raw, &key)
	return key, err
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// plainType returns the type that defines the keys of a value, nil if the type decodes itself.
func plainType(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		if t.Implements(unmarshaler) {
			return nil
		}
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	return t
}

var knownFields sync.Map // reflect.Type to map[string]reflect.Type

// fieldsOf returns the JSON keys of a struct with the types of their values.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if m, ok := knownFields.Load(t); ok {
		return m.(map[string]reflect.Type) //nolint:errcheck // nothing else is stored
	}
	m := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case name != "":
			m[name] = f.Type
		case !f.Anonymous:
			m[f.Name] = f.Type
		}
	}
	knownFields.Store(t, m)
	return m
}
