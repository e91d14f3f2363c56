// Package page serves the live page: what is recorded at this moment, who is there and who is
// missing, and what was captured before. Templates and static files are part of the binary; the
// page needs no network but the service, and works without scripts.
//
// The script replaces the parts of the page that changed. Everything else is links and forms.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/timeline"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/problem"
)

//go:embed static/*
var staticFiles embed.FS

// Policy is the content security policy of the page.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'"

// Options of [New]. All are required.
type Options struct {
	Service overview.Service
	Logger  *slog.Logger
}

// Handler serves the page. It decides by the rights of a request what to show.
type Handler struct {
	service overview.Service
	logger  *slog.Logger
	mux     *http.ServeMux
	live    *ticker
	static  map[string][]byte
	assets  string // changes with the static files
}

// New returns a Handler. It starts nothing until a page is open.
func New(o Options) *Handler {
	h := &Handler{service: o.Service, logger: o.Logger, mux: http.NewServeMux()}
	h.live = newTicker(o.Service)
	h.static, h.assets = readStatic()
	h.mux.HandleFunc("GET /{$}", h.now)
	h.mux.HandleFunc("GET /stream", h.stream)
	h.mux.HandleFunc("GET /recordings", h.past)
	h.mux.HandleFunc("GET /recordings/{id}", h.recording)
	h.mux.HandleFunc("GET /recordings/{id}/stream", h.recordingStream)
	h.mux.HandleFunc("GET /recordings/{id}/timeline", h.timeline)
	h.mux.Handle("GET /recordings/{id}/text", access.RequireRead(http.HandlerFunc(h.text)))
	h.mux.Handle("GET /recordings/{id}/text/stream",
		access.RequireRead(http.HandlerFunc(h.textStream)))
	h.mux.Handle("GET /recordings/{id}/report", access.RequireRead(http.HandlerFunc(h.report)))
	h.mux.Handle("GET /recordings/{id}/zip", access.RequireRead(http.HandlerFunc(h.zip)))
	for pattern, f := range map[string]http.HandlerFunc{
		"GET /act/stop": h.askStop, "POST /act/stop": h.stop,
		"GET /act/record": h.askRecord, "POST /act/record": h.record,
		"POST /act/exclude": h.exclude,
		"GET /rehearsal":    h.askRehearsal, "POST /act/rehearse": h.rehearse,
	} {
		h.mux.Handle(pattern, access.RequireAct(f))
	}
	h.mux.HandleFunc("GET /static/{name}", h.serveStatic)
	h.mux.HandleFunc("/", h.nowhere)
	return h
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", Policy)
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	h.mux.ServeHTTP(w, r)
}

func rights(r *http.Request) overview.Rights {
	a := access.FromContext(r.Context())
	return overview.Rights{Read: a.Read, Act: a.Act}
}

// frame is what surrounds the content of every page.
type frame struct {
	Title    string
	Page     string // the current entry of the navigation
	Icon     string // a level
	Stream   string // path of the stream of changes, "" if there is none
	Name     string // template of the content
	Body     any
	Rights   overview.Rights
	Operator string

	Version, Instance string
	StartedAt         time.Time
	Assets            string
}

// write answers with a page.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, status int, o overview.Overview,
	f frame,
) {
	f.Rights, f.Operator, f.Assets = rights(r), access.FromContext(r.Context()).Operator, h.assets
	f.Version, f.Instance, f.StartedAt = o.Version, o.Instance, o.StartedAt
	if f.Icon == "" {
		f.Icon = string(overview.Idle)
	}
	rend := &renderer{at: o.At}
	html := rend.execute("layout", f)
	if rend.err != nil {
		h.fail(w, r, rend.err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(html)) // a client that is away
}

// now serves the first page.
func (h *Handler) now(w http.ResponseWriter, r *http.Request) {
	o := h.service.Overview()
	open := opened(r.URL.Query())
	n := newNow(o, rights(r), open)
	stream := "/stream"
	if len(open) > 0 {
		stream += "?open=" + strings.Join(open, ",")
	}
	body := first{Now: n}
	// The page says what is recorded now, whatever the state of the store.
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if page, err := h.service.Recordings(ctx, overview.Query{Limit: 20}); err == nil {
		for _, rec := range page.Recordings {
			if !running(rec.Session) && len(body.Earlier.Recordings) < 8 {
				body.Earlier.Recordings = append(body.Earlier.Recordings, rec.For(rights(r)))
			}
		}
	}
	h.write(w, r, http.StatusOK, o, frame{
		Title: n.Title, Icon: string(n.Verdict.Level), Page: "now", Stream: stream, Name: "first",
		Body: body,
	})
}

// first is the first page: what changes by itself, and earlier recordings.
type first struct {
	Now     now
	Earlier list
}

// fail answers with a problem that has no reason in the request.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	h.logger.Error("cannot serve a page", "error", err)
	problem.Write(w, r, http.StatusInternalServerError, "This page cannot be shown",
		"Recording does not depend on it. The log of the service has the cause.")
}

// refuse answers with what an error of the service means.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var status int
	var title string
	detail := err.Error()
	switch {
	case errors.Is(err, overview.ErrNotFound):
		status, title = http.StatusNotFound, "There is no such recording"
		detail = "It may be on another server, or its data was removed. See the list of recordings."
	case errors.Is(err, overview.ErrInvalid):
		status, title = http.StatusBadRequest, "This request cannot be understood"
	case errors.Is(err, overview.ErrGone):
		status, title = http.StatusGone, "This data was removed"
	case errors.Is(err, overview.ErrNotNow):
		status, title = http.StatusServiceUnavailable, "Not available at the moment"
	case errors.Is(err, overview.ErrRefused):
		status, title = http.StatusConflict, "This is not possible now"
	case r.Context().Err() != nil:
		return // nobody waits for the answer
	default:
		h.fail(w, r, err)
		return
	}
	problem.Write(w, r, status, title, detail)
}

func (h *Handler) nowhere(w http.ResponseWriter, r *http.Request) {
	problem.Write(w, r, http.StatusNotFound, "There is no such page",
		"The first page shows what is recorded now.")
}

// readStatic returns the static files by name, and a hash of all of them.
func readStatic() (files map[string][]byte, hash string) {
	files = map[string][]byte{}
	sum := sha256.New()
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		panic(err) // cannot happen: the files are part of the binary
	}
	for _, e := range entries {
		data, err := staticFiles.ReadFile(path.Join("static", e.Name()))
		if err != nil {
			panic(err) // as above
		}
		if e.Name() == "page.css" {
			data = append(data, timeline.CSS...)
		}
		files[e.Name()] = data
		_, _ = sum.Write(data)
	}
	for level, svg := range icons {
		files["icon-"+string(level)+".svg"] = []byte(svg)
	}
	return files, hex.EncodeToString(sum.Sum(nil)[:6])
}

func (h *Handler) serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, ok := h.static[name]
	if !ok {
		h.nowhere(w, r)
		return
	}
	if r.URL.RawQuery == h.assets { // the address changes with the content
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// icons are the pictures in the browser's tab, each of a shape of its own.
var icons = map[overview.Level]string{
	overview.OK:   icon(`<circle cx="8" cy="8" r="6.5" fill="#1a8f4e"/>`),
	overview.Warn: icon(`<path d="M8 1 15.5 15H.5z" fill="#d08700"/>`),
	overview.Bad:  icon(`<path d="M8 .5 15.5 8 8 15.5.5 8z" fill="#cf2e25"/>`),
	overview.Idle: icon(`<circle cx="8" cy="8" r="5.5" fill="none" stroke="#7d8893" stroke-width="2.5"/>`),
}

func icon(shape string) string {
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">` + shape + `</svg>`
}
