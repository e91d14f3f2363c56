package textegress

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// timestamped is Message with a Timestamp for its time, so that encoding/json writes
// the time as AppendJSON does.
var timestamped = func() reflect.Type {
	fields := reflect.VisibleFields(reflect.TypeFor[Message]())
	for i := range fields {
		if fields[i].Type == reflect.TypeFor[time.Time]() {
			fields[i].Type = reflect.TypeFor[Timestamp]()
		}
	}
	return reflect.StructOf(fields)
}()

// appendSlowly is AppendJSON by way of encoding/json.
func appendSlowly(m Message) ([]byte, error) {
	if m.UnixNS == 0 && !m.Time.IsZero() {
		m.UnixNS = m.Time.UnixNano()
	}
	if m.Event != nil && m.Event.Kind != "" {
		e := *m.Event
		e.Kind = ""
		m.Event = &e
	}
	in, out := reflect.ValueOf(m), reflect.New(timestamped).Elem()
	for i := range in.NumField() {
		if out.Field(i).Type() == reflect.TypeFor[Timestamp]() {
			out.Field(i).Set(reflect.ValueOf(UnixTimestamp(m.UnixNS)))
		} else {
			out.Field(i).Set(in.Field(i))
		}
	}
	var buf bytes.Buffer
	err := encodeJSON(&buf, "", out.Interface())
	return bytes.ReplaceAll(bytes.TrimSuffix(buf.Bytes(), []byte("\n")), []byte("\u0085"),
		[]byte(`\u0085`)), err
}

// splitters are the characters at which readers split lines: those of Python's str.splitlines.
const splitters = "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"

func agree(t *testing.T, m Message) {
	t.Helper()
	want, err := appendSlowly(m)
	if err != nil {
		t.Fatal(err)
	}
	got := m.AppendJSON([]byte("before "))
	if bytes.ContainsAny(got, splitters) {
		t.Fatalf("a reader would split this line:\n%q", got)
	}
	if got, ok := bytes.CutPrefix(got, []byte("before ")); !ok || !bytes.Equal(got, want) {
		t.Fatalf("AppendJSON and encoding/json differ:\n%s\n%s", got, want)
	}
}

// filler sets fields of whatever type to values that decide() chooses; decide returns a byte.
type filler struct{ decide func() byte }

var awkward = []string{
	"", "a", "\"\\/<>&'", "\x00\x01\b\f\n\r\t\x1f \x7f", "\u2028\u2029\u202a", "\u0085\u0084\u00c2",
	"é👍", "\xff", "a\xc3", "\xe2\x80", "\xed\xa0\x80", "\ufffd", "k", "z",
	strings.Repeat("long ", 50),
}

func (f filler) text() string {
	n := int(f.decide())
	if n < len(awkward) {
		return awkward[n]
	}
	b := make([]byte, n%7)
	for i := range b {
		b[i] = f.decide()
	}
	return string(b)
}

func (f filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.decide()%2 == 1)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n := int64(f.decide()%4) - 1
		if f.decide()%2 == 0 {
			n = n << 31 * int64(f.decide()) * 7919
		}
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := uint64(f.decide() % 3)
		if f.decide()%2 == 0 {
			n = -n
		}
		v.SetUint(n)
	case reflect.Pointer:
		if f.decide()%2 == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if n := int(f.decide() % 4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1)) // 0 and 1: nil and empty
			for i := range n - 1 {
				f.fill(v.Index(i))
			}
		}
	case reflect.Map:
		if n := int(f.decide() % 4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n - 1 {
				key, value := reflect.New(v.Type().Key()).Elem(),
					reflect.New(v.Type().Elem()).Elem()
				f.fill(key)
				f.fill(value)
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			if f.decide()%2 == 1 {
				v.Set(reflect.ValueOf(time.Unix(int64(f.decide())<<24, int64(f.decide())<<20)))
			}
			return
		}
		for _, field := range v.Fields() {
			f.fill(field)
		}
	default:
		panic("a field of a kind that nobody thought of: " + v.Type().String())
	}
}

// TestAppendJSON_Agrees compares AppendJSON with encoding/json: each field alone, and all at
// random.
func TestAppendJSON_Agrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	f := filler{func() byte { return byte(rnd.Uint32()) }}
	for i := range reflect.TypeFor[Message]().NumField() {
		for range 200 {
			var m Message
			f.fill(reflect.ValueOf(&m).Elem().Field(i))
			agree(t, m)
		}
	}
	for range 3000 {
		var m Message
		f.fill(reflect.ValueOf(&m).Elem())
		agree(t, m)
	}
	for _, s := range awkward {
		agree(t, Message{Text: &s, UnixNS: -1})
	}
	for c := range 256 {
		s := "x" + string([]byte{byte(c)}) + "y"
		agree(t, Message{Text: &s, UnixNS: int64(c) << 55})
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("text", "identity", int64(1749673841000000001), []byte{1, 2, 3, 1, 1, 1})
	f.Add("\u2028\xff\"", "", int64(0), bytes.Repeat([]byte{1}, 100))
	f.Fuzz(func(t *testing.T, text, identity string, ns int64, choices []byte) {
		var m Message
		filler{func() byte {
			if len(choices) == 0 {
				return 0
			}
			c := choices[0]
			choices = choices[1:]
			return c
		}}.fill(reflect.ValueOf(&m).Elem())
		m.Text, m.Identity, m.UnixNS = &text, identity, ns
		agree(t, m)
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	m := Message{
		N: 7_654_321, Kind: KindData, UnixNS: 1749673841000000001, Identity: "student-01",
		ParticipantSID: "PA_abcdefghijkl", Topic: "log",
		Reliable: new(bool), Sequence: 12345, Epoch: 1,
		Text: new(`{"verb":"moved","object":{"id":"block-0001"},"x":1,"y":2}`),
	}
	var line []byte
	for b.Loop() {
		line = m.AppendJSON(line[:0])
	}
	b.SetBytes(int64(len(line)))
}
