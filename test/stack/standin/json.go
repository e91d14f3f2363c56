package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const maxBody = 2 << 20

// field is one field of a request body. The checks are those of SyncFlow's deserialiser, which has
// no defaults.
type field struct {
	name     string
	is       func(any) string // "" or the problem
	required bool
}

func isString(v any) string  { return expect[string](v, "a string") }
func isBool(v any) string    { return expect[bool](v, "a boolean") }
func isInteger(v any) string { return expect[float64](v, "i32") }
func isStrings(v any) string {
	l, ok := v.([]any)
	if !ok {
		return kind(v) + ", expected a sequence"
	}
	for _, x := range l {
		if e := isString(x); e != "" {
			return e
		}
	}
	return ""
}

func expect[T any](v any, what string) string {
	if _, ok := v.(T); ok {
		return ""
	}
	return kind(v) + ", expected " + what
}

func kind(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("string %q", x)
	case bool:
		return fmt.Sprintf("boolean `%v`", x)
	case float64:
		return fmt.Sprintf("integer `%v`", x)
	case []any:
		return "sequence"
	}
	return "map"
}

// decode reads a request body. Its errors are plain text, like those of SyncFlow's framework, not
// SyncFlow's own JSON errors.
func decode(w http.ResponseWriter, r *http.Request, fields []field, into any) bool {
	if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"),
		";"); strings.TrimSpace(ct) != "application/json" {
		plain(w, http.StatusBadRequest, "Content type error")
		return false
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
		plain(w, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("JSON payload has exceeded limit (%d bytes).", maxBody))
		return false
	}
	if err != nil {
		plain(w, http.StatusBadRequest, "Error that occur during reading payload")
		return false
	}
	var body map[string]any
	if err := json.Unmarshal(b, &body); err != nil {
		plain(w, http.StatusBadRequest, "Json deserialize error: "+err.Error())
		return false
	}
	if problem := check(body, fields); problem != "" {
		plain(w, http.StatusBadRequest, "Json deserialize error: "+problem+" at line 1 column "+
			fmt.Sprint(len(b)))
		return false
	}
	if err := json.Unmarshal(b, into); err != nil {
		plain(w, http.StatusBadRequest, "Json deserialize error: "+err.Error())
		return false
	}
	return true
}

func check(body map[string]any, fields []field) string {
	for _, f := range fields {
		v, ok := body[f.name]
		if !ok && f.required {
			return "missing field `" + f.name + "`"
		}
		if !ok || (v == nil && !f.required) {
			continue
		}
		if problem := f.is(v); problem != "" {
			return "invalid type: " + problem
		}
	}
	return ""
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// fail writes the error envelope that all of SyncFlow's own errors have.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "message": message})
}

func reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}
