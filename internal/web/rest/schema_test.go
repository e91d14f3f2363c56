package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/web/rest"
)

// document is the part of an OpenAPI document that the tests use.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Parameters []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
		Responses map[string]struct {
			Content map[string]struct {
				Schema *schema `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

// schema is a JSON schema with the keywords that the document uses.
type schema struct {
	Ref         string             `json:"$ref"`
	Description string             `json:"description"`
	Type        string             `json:"type"`
	Format      string             `json:"format"`
	Enum        []string           `json:"enum"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Additional  *bool              `json:"additionalProperties"`
	Items       *schema            `json:"items"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	Default     any                `json:"default"`
}

func load(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(rest.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// check reports how a value differs from a schema.
func (d document) check(path string, s *schema, v any) []string {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if s = d.Components.Schemas[name]; s == nil {
			return []string{path + ": no schema " + name}
		}
	}
	wrong := func(want string) []string {
		return []string{fmt.Sprintf("%s: %v is no %s", path, v, want)}
	}
	switch s.Type {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return wrong("object")
		}
		return d.checkObject(path, s, m)
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong("array")
		}
		var bad []string
		for i, e := range list {
			bad = append(bad, d.check(fmt.Sprintf("%s[%d]", path, i), s.Items, e)...)
		}
		return bad
	case "string":
		text, ok := v.(string)
		if !ok || len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			return wrong("string of " + strings.Join(s.Enum, ", "))
		}
		if _, err := time.Parse(time.RFC3339, text); s.Format == "date-time" && err != nil {
			return wrong("time")
		}
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || s.Type == "integer" && n != float64(int64(n)) || s.Minimum != nil && n < *s.Minimum {
			return wrong(s.Type)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong("boolean")
		}
	default:
		return []string{path + ": the schema has no type"}
	}
	return nil
}

func (d document) checkObject(path string, s *schema, m map[string]any) []string {
	var bad []string
	for _, key := range s.Required {
		if _, ok := m[key]; !ok {
			bad = append(bad, path+"."+key+" is missing")
		}
	}
	for key, v := range m {
		p := s.Properties[key]
		switch {
		case p != nil:
			bad = append(bad, d.check(path+"."+key, p, v)...)
		case s.Additional != nil && !*s.Additional:
			bad = append(bad, path+"."+key+" is not in the schema")
		}
	}
	return bad
}

// TestDocument holds the document and the handler against each other: every path of the document is
// served and answers by its schema, with every key that an answer can have, and every parameter of
// the document is known to the handler, and no other one.
func TestDocument(t *testing.T) {
	d := load(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %s", d.OpenAPI)
	}
	f := newFake(3)
	f.finish()
	for path, methods := range d.Paths {
		op, ok := methods["get"]
		if !ok || len(methods) != 1 {
			t.Errorf("%s: methods other than GET", path)
			continue
		}
		target := strings.ReplaceAll(path, "{id}", "EG_1")
		got := ask(t, f, everything, "GET", target)
		content, ok := op.Responses["200"].Content["application/json"]
		if got.Code != http.StatusOK || !ok {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
			continue
		}
		var v any
		if err := json.Unmarshal(got.Body.Bytes(), &v); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, bad := range d.check(path, content.Schema, v) {
			t.Error(bad)
		}
		if path == rest.Prefix+"openapi.json" {
			continue
		}
		var names []string
		for _, p := range op.Parameters {
			if p.In == "query" {
				names = append(names, p.Name)
				// malformed for each kind of parameter, or a text that is accepted
				got := ask(t, f, everything, "GET", target+"?"+p.Name+"=%2A%2A")
				if strings.Contains(got.Body.String(), "unknown here") {
					t.Errorf("%s: the parameter %s is unknown", path, p.Name)
				}
			}
		}
		got = ask(t, f, everything, "GET", target+"?surprise=1")
		listed := "no parameters."
		if len(names) > 0 {
			listed = strings.Join(names, ", ") + "."
		}
		if got.Code != http.StatusBadRequest || !strings.Contains(got.Body.String(), listed) {
			t.Errorf("%s: want the parameters %q: %s", path, listed, got.Body)
		}
	}
}

// Every property of the document occurs in an answer in which every field is set: none is stale.
func TestDocumentHasNoStaleKeys(t *testing.T) {
	d := load(t)
	f := newFake(1)
	f.finish()
	used := map[string]bool{}
	for path := range d.Paths {
		var v any
		body := ask(t, f, everything, "GET", strings.ReplaceAll(path, "{id}", "EG_1")).Body
		if err := json.Unmarshal(body.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !strings.HasSuffix(path, "openapi.json") {
			keys(v, used)
		}
	}
	for name, s := range d.Components.Schemas {
		if name == "Line" || name == "Problem" { // in other tests
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
			if !used[key] {
				t.Errorf("%s.%s occurs in no answer", name, key)
			}
		}
	}
}

func keys(v any, used map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			used[k] = true
			keys(e, used)
		}
	case []any:
		for _, e := range v {
			keys(e, used)
		}
	}
}
