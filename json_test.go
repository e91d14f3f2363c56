package textegress

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeJSON(t *testing.T) {
	whole, err := Manifest{
		FormatVersion: 1,
		Merged: []MergedRecording{
			{EgressID: "a", Merged: []MergedRecording{{EgressID: "b"}}},
		},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ json, refused string }{
		"a manifest":                 {string(whole), ""},
		"unknown keys":               {`{"Whatever": {"a": 1, "A": 2}, "format_version": 1}`, ""},
		"keys of a map in two cases": {`{"counts": {"by_kind": {"data": 1, "DATA": 2}}}`, ""},
		"a key twice": {
			`{"status": "COMPLETE", "status": "FAILED"}`,
			`"status" stands twice`,
		},
		"a key twice, escaped": {
			`{"status": "COMPLETE", "stat\u0075s": "FAILED"}`,
			`"status" stands twice`,
		},
		"an unknown key twice":  {`{"x": [{"y": 1, "y": 2}]}`, `"y" stands twice`},
		"a key in another case": {`{"Status": "COMPLETE"}`, `"status" is written "Status"`},
		"with the Kelvin sign":  {`{"objects": [{"\u212Aey": "a"}]}`, `"key" is written`},
		"in a list of a list": {
			`{"completeness": {"outages": [{}, {"connections": [{"Last_before": 1}]}]}}`,
			`"last_before" is written`,
		},
		"in a map": {
			`{"counts": {"by_kind": {"data": 1, "data": 2}}}`,
			`"data" stands twice`,
		},
		"many keys": {
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"r":1,"q":1}`, `"q" stands twice`,
		},
		"no UTF-8": {"{\"reason\": \"\xff\"}", "UTF-8"},
		"too deep": {strings.Repeat("[", 1000), "nested deeper"},
		"many values of few bytes": {
			`{"objects": [` + strings.Repeat("null,", 5<<20) + `null]}`,
			"values",
		},
		"two values": {`{} {}`, "after top-level value"},
		"no JSON":    {`{"status": `, "unexpected end"},
	} {
		t.Run(name, func(t *testing.T) {
			var m Manifest
			err := DecodeJSON([]byte(c.json), &m)
			switch {
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("%v, want an error with %q", err, c.refused)
			}
		})
	}
}

// FuzzDecodeJSON: whatever encoding/json accepts is walked to its end, and what
// Go encodes is accepted.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2,{"b":"\""}],"c":null}`, `[]`, `"\\"`,
		` { "A" : -1e3 , "a" : true } `, `{"":{"":[[]]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if err := DecodeJSON(b, &v); err != nil {
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeJSON(again, &v); err != nil {
			t.Errorf("%s: %v", again, err)
		}
		w := keyWalk{b: bytes.TrimSpace(b)}
		if err := w.value(nil); err != nil || w.i != len(w.b) {
			t.Errorf("walked to %d of %d: %v", w.i, len(w.b), err)
		}
	})
}
