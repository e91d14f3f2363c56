// Package web serves the state of the service over HTTP (health, readiness, metrics, status), and
// the requests of the command line over a unix socket in the data directory. It accesses the
// service through an interface, and changes no state itself.
package web

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/problem"
	"github.com/syncflow/textegress/internal/web/stream"
)

// maxBody bounds the body of a request to one of [Options.Routes].
const maxBody = 1 << 20

// maxRequest bounds the body of any other request.
const maxRequest = 64 << 10

// Options of [New]. Service, Gatherer, Logger and Doors are required.
type Options struct {
	Service  Service
	Gatherer prometheus.Gatherer
	Logger   *slog.Logger
	// Doors stand before the page, the API and the status. Health and metrics are open.
	Doors *access.Doors
	Page  http.Handler // serves / and everything below it; nil = a list of links
	API   http.Handler // serves /api/; nil = there is none
	TLS   *tls.Config  // nil = HTTP without TLS
	// PageHost is a further name that the Host header of a request on loopback may have.
	PageHost string
	// Routes are further handlers of the HTTP endpoint by pattern of [http.ServeMux], such as "POST
	// /livekit/webhook". They are served whatever the Host header says, because the signature of a
	// request is their door: each must verify it before any other work. Bodies are cut at 1 MiB.
	Routes map[string]http.Handler
}

// Server provides the handlers of the two endpoints: HTTP, and the control socket, which accepts
// the commands.
type Server struct {
	o       Options
	service Service
	logger  *slog.Logger
	streams *stream.Bound
}

// New returns a Server. It starts nothing.
func New(o Options) *Server {
	return &Server{
		o: o, service: o.Service, logger: o.Logger, streams: stream.NewBound(maxStreams),
	}
}

// Handler serves /healthz, /readyz and /metrics to everybody; behind the doors the page,
// /status.json and /api/; and [Options.Routes].
func (s *Server) Handler() http.Handler { return s.withRoutes(s.own()) }

// withRoutes serves the routes, and everything else by next.
func (s *Server) withRoutes(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	for pattern, h := range s.o.Routes {
		mux.Handle(pattern, guarded(http.MaxBytesHandler(h, maxBody)))
	}
	return mux
}

func (s *Server) own() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(s.logger.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
		// No compression: a compressor uses 0.8 MB of memory to save some ten kilobytes of local
		// traffic.
		DisableCompression: true,
	}))
	// Without these, requests with another method would go to the page.
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.HandleFunc(path, readOnly)
	}
	mux.Handle("/", s.streams.Wrap(s.o.Doors.Wrap(s.behindDoors())))
	return guarded(http.MaxBytesHandler(mux, maxRequest))
}

// behindDoors serves what not everybody may see.
func (s *Server) behindDoors() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status.json", s.status)
	mux.HandleFunc("/status.json", readOnly)
	if s.o.API != nil {
		mux.Handle("/api/", s.o.API)
	}
	if s.o.Page != nil {
		mux.Handle("/", s.o.Page)
	} else {
		mux.HandleFunc("GET /{$}", s.index)
	}
	return mux
}

// readOnly answers a request with a method that changes something.
func readOnly(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	problem.Write(w, r, http.StatusMethodNotAllowed, "Only for looking", "Use GET.")
}

// ControlHandler serves the control socket: GET /status.json, POST /record, POST /stop,
// POST /exclude, POST /forget, POST /rehearse, POST /page, and the profiles of net/http/pprof below
// /debug/pprof/. Any process that can open the socket may use it. Profiles are not served at the
// HTTP address, where anybody could request them: they contain no payload, but take time.
func (s *Server) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /status.json", s.status)
	mux.HandleFunc("POST /record", s.record)
	mux.HandleFunc("POST /stop", s.stop)
	mux.HandleFunc("POST /exclude", s.exclude)
	mux.HandleFunc("POST /forget", s.forget)
	mux.HandleFunc("POST /rehearse", s.rehearse)
	mux.HandleFunc("POST /page", s.page)
	return guarded(mux)
}

// guarded prevents caching, and content sniffing in browsers: responses may contain participants'
// texts.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><title>textegress</title><h1>textegress</h1><ul>
<li><a href="healthz">healthz</a>: the process answers
<li><a href="readyz">readyz</a>: sessions are recorded and delivered; 503 with the reasons where not
<li><a href="status.json">status.json</a>: projects and recordings
<li><a href="metrics">metrics</a>: for Prometheus
</ul>
`)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	reasons := s.service.NotReady()
	if len(reasons) == 0 {
		_, _ = io.WriteString(w, "ready\n")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, strings.Join(reasons, "\n")+"\n")
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, s.service.Status().withEmptyLists())
}

type recordRequest struct {
	SessionID string `json:"session_id"`
	Project   string `json:"project,omitempty"`
}

// recordResponse has either an egress id or an error.
type recordResponse struct {
	EgressID string `json:"egress_id,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (s *Server) record(w http.ResponseWriter, r *http.Request) {
	var req recordRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&req)
	if err == nil && req.SessionID == "" {
		err = errors.New("session_id is missing")
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("malformed request: %w", err))
		return
	}
	id, err := s.service.Record(r.Context(), req.SessionID, req.Project)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.writeJSON(w, http.StatusOK, recordResponse{EgressID: id})
}

func (s *Server) forget(w http.ResponseWriter, r *http.Request) {
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("malformed request: %w", err))
		return
	}
	answer, err := s.service.Forget(r.Context(), request)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.writeJSON(w, http.StatusOK, json.RawMessage(answer))
}

// pageResponse is the answer to POST /page.
type pageResponse struct {
	URL string `json:"url"`
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	url, err := s.o.Doors.Link()
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.writeJSON(w, http.StatusOK, pageResponse{URL: url})
}

func (s *Server) refuse(w http.ResponseWriter, code int, err error) {
	s.writeJSON(w, code, recordResponse{Error: err.Error()})
}

func (s *Server) writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		s.logger.Debug("cannot write a response", "error", err)
	}
}
