// Package rest serves /api/v1/: what is recorded now, earlier recordings, and the lines of a
// recording, as JSON and as server-sent events. The document openapi.json describes it; tests hold
// the two against each other.
//
// Without the right to read, answers name no participant, and lines are refused.
package rest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/problem"
)

// OpenAPI is the description of the API (OpenAPI 3.1).
//
//go:embed openapi.json
var OpenAPI []byte

// Prefix is that of all paths.
const Prefix = "/api/v1/"

// Options of [New].
type Options struct {
	Service overview.Service
	Logger  *slog.Logger // nil: silent
}

// api serves the requests.
type api struct {
	service overview.Service
	log     *slog.Logger
}

// New returns the handler of everything below [Prefix]. It expects the rights of a request in its
// context, see [access.FromContext].
func New(o Options) http.Handler {
	a := &api{service: o.Service, log: o.Logger}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"openapi.json", a.openAPI)
	mux.HandleFunc("GET "+Prefix+"status", a.status)
	mux.HandleFunc("GET "+Prefix+"recordings", a.recordings)
	mux.HandleFunc("GET "+Prefix+"recordings/{id}", a.recording)
	mux.Handle("GET "+Prefix+"recordings/{id}/timeline", readers(a.timeline))
	mux.Handle("GET "+Prefix+"recordings/{id}/events", readers(a.events))
	mux.HandleFunc("/", a.unknown)
	return mux
}

// readers serves requests that may read names, and refuses others with a problem document.
func readers(h http.HandlerFunc) http.Handler { return access.RequireRead(h) }

// paths are those of the API, for a client that used another method.
var paths = []string{"openapi.json", "status", "recordings"}

func (a *api) unknown(w http.ResponseWriter, r *http.Request) {
	if rest := strings.TrimPrefix(r.URL.Path, Prefix); r.Method != http.MethodGet &&
		r.Method != http.MethodHead {
		for _, p := range paths {
			if rest == p || strings.HasPrefix(rest, p+"/") {
				w.Header().Set("Allow", "GET, HEAD")
				problem.JSON(w, http.StatusMethodNotAllowed, "Method not allowed",
					"This API is read with GET.")
				return
			}
		}
	}
	problem.JSON(w, http.StatusNotFound, "Not found",
		"There is no such path. "+Prefix+"openapi.json lists those of this API.")
}

func (a *api) openAPI(w http.ResponseWriter, _ *http.Request) {
	header(w)
	_, _ = w.Write(OpenAPI)
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	if _, ok := parameters(w, r); !ok {
		return
	}
	a.write(w, a.service.Overview().For(rights(r)))
}

func (a *api) recordings(w http.ResponseWriter, r *http.Request) {
	p, ok := parameters(w, r, "q", "project", "from", "to", "cursor", "limit")
	if !ok {
		return
	}
	q := overview.Query{
		Text: p.text("q"), Project: p.text("project"), From: p.time("from"), To: p.time("to"),
		Cursor: p.text("cursor"), Limit: p.number("limit", 0, 1, overview.MaxLimit),
	}
	if p.refuse(w) {
		return
	}
	page, err := a.service.Recordings(r.Context(), q)
	if err != nil {
		a.fail(w, err)
		return
	}
	answer := overview.RecordingPage{Recordings: []overview.Recording{}, Next: page.Next}
	for _, rec := range page.Recordings {
		answer.Recordings = append(answer.Recordings, rec.For(rights(r)))
	}
	a.write(w, answer)
}

func (a *api) recording(w http.ResponseWriter, r *http.Request) {
	if _, ok := parameters(w, r); !ok {
		return
	}
	rec, err := a.service.Recording(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, err)
		return
	}
	a.write(w, rec.For(rights(r)))
}

func (a *api) timeline(w http.ResponseWriter, r *http.Request) {
	if _, ok := parameters(w, r); !ok {
		return
	}
	d, err := a.service.Timeline(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, err)
		return
	}
	a.write(w, d)
}

func rights(r *http.Request) overview.Rights {
	has := access.FromContext(r.Context())
	return overview.Rights{Read: has.Read, Act: has.Act}
}

// fail answers with a problem. The errors of a service are for people.
func (a *api) fail(w http.ResponseWriter, err error) {
	status, title, detail := describe(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	if status == http.StatusInternalServerError {
		a.log.Error("a request of the API failed", "error", err)
	}
	problem.JSON(w, status, title, detail)
}

func describe(err error) (status int, title, detail string) {
	switch {
	case errors.Is(err, overview.ErrNotFound):
		return http.StatusNotFound, "Not found",
			"There is no such recording. " + Prefix + "recordings lists those that there are."
	case errors.Is(err, overview.ErrInvalid):
		return http.StatusBadRequest, "Invalid request", err.Error()
	case errors.Is(err, overview.ErrGone):
		return http.StatusGone, "Not available any more", err.Error()
	case errors.Is(err, overview.ErrRefused):
		return http.StatusConflict, "Not possible", err.Error()
	case errors.Is(err, overview.ErrNotNow):
		return http.StatusServiceUnavailable, "Not available now", err.Error()
	}
	return http.StatusInternalServerError, "Error of the service", "Its log says more."
}

func header(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func (a *api) write(w http.ResponseWriter, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		a.fail(w, err)
		return
	}
	header(w)
	_, _ = w.Write(buf.Bytes()) // a client that is away
}
