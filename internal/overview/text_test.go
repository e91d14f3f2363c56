package overview_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/overview"
)

const secret = "SECRET"

// fill sets every string and byte slice that v can hold to the secret, and every pointer, list and
// map to one with such an element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(secret)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(secret))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
		if v.CanInt() {
			v.SetInt(1)
		} else if v.CanUint() {
			v.SetUint(1)
		}
	}
}

// Every field of a message is set. What remains is a list that a person has read: a new field of a
// message must not appear in it by itself.
func TestWithoutText(t *testing.T) {
	var m textegress.Message
	fill(reflect.ValueOf(&m).Elem())
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := overview.WithoutText(line)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(got, &all); err != nil {
		t.Fatal(err)
	}
	for key, forbidden := range map[string][]string{
		"":              {"text", "base64", "sip_dtmf"},
		"user":          {"nonce"},
		"transcription": {"segments"},
		"rpc":           {"error"},
		"stream":        {"name", "file", "attributes", "trailer_reason"},
		"track":         {"extensions"},
		"event":         {"metadata", "attributes", "room_metadata"},
	} {
		parts := all
		if key != "" {
			parts = nil
			if err := json.Unmarshal(all[key], &parts); err != nil {
				t.Errorf("%s: %v in %s", key, err, got)
			}
		}
		for _, f := range forbidden {
			if _, ok := parts[f]; ok {
				t.Errorf("%s.%s remains", key, f)
			}
		}
	}
	for _, want := range []string{`"identity":"SECRET"`, `"topic":"SECRET"`, `"left_out":true`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
}

func TestWithoutTextOfAPlainLine(t *testing.T) {
	const line = `{"epoch":1,"event":{"room_sid":"RM_x"},"kind":"joined","n":2}`
	got, err := overview.WithoutText([]byte(line))
	if err != nil || string(got) != line {
		t.Errorf("%s, %v", got, err)
	}
	const unknown = `{"n":3,"kind":"new","novelty":"SECRET","stream":"SECRET"}`
	got, err = overview.WithoutText([]byte(unknown))
	if err != nil || strings.Contains(string(got), secret) {
		t.Errorf("%s, %v", got, err)
	}
	_, err = overview.WithoutText([]byte("SECRET"))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
}
