package standin

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// Server is the API. It implements http.Handler.
type Server struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context
	state   *state
	control *control
	rmq     *notifier
	rooms   rooms
	mux     *http.ServeMux
	pool    *pool
	threads []*thread
	next    atomic.Uint64 // number of connections assigned to threads so far
	live    sync.Map      // session id -> room name
}

// New opens the state and connects to RabbitMQ, which must be up, as for the real API. The
// listeners of rooms end with ctx.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	st, err := openState(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: log, ctx: ctx, state: st, control: newControl(),
		rmq: &notifier{url: cfg.AMQPURL, exchange: cfg.Exchange, queue: cfg.Queue},
		rooms: server{
			lksdk.NewRoomServiceClient(cfg.LiveKitURL, cfg.LiveKitKey, cfg.LiveKitSecret),
			cfg.LiveKitURL,
		},
		mux:  http.NewServeMux(),
		pool: &pool{size: cfg.Limits.Connections}, threads: newThreads(cfg.Limits.Threads),
	}
	if err := s.rmq.connect(); err != nil {
		return nil, err
	}
	for pattern, h := range map[string]http.HandlerFunc{
		"POST /users/login":                             s.login,
		"GET /rmq/auth/{kind}":                          s.hook,
		"GET /projects/{p}":                             s.getProject,
		"POST /projects/{p}/devices/register":           s.registerDevice,
		"GET /projects/{p}/devices":                     s.listDevices,
		"GET /projects/{p}/devices/{d}":                 s.getDevice,
		"DELETE /projects/{p}/devices/{d}":              s.deleteDevice,
		"POST /projects/{p}/create-session":             s.createSession,
		"GET /projects/{p}/sessions":                    s.listSessions,
		"GET /projects/{p}/sessions/{s}":                s.getSession,
		"DELETE /projects/{p}/sessions/{s}":             s.deleteSession,
		"POST /projects/{p}/sessions/{s}/token":         s.sessionToken,
		"GET /projects/{p}/sessions/{s}/participants":   s.participants,
		"POST /projects/{p}/sessions/{s}/stop":          s.stopSession,
		"GET /projects/{p}/sessions/{s}/egresses":       s.egresses,
		"POST /projects/{p}/sessions/{s}/get-media-url": s.mediaURL,
	} {
		s.mux.HandleFunc(pattern, h)
	}
	return s, nil
}

type callerKey struct{}

// route returns the pattern of a request, "" if there is none. Go's own response to a wrong method
// or an unclean path differs from SyncFlow's.
func (s *Server) route(r *http.Request) string {
	if path.Clean(r.URL.Path) != r.URL.Path {
		return ""
	}
	_, pattern := s.mux.Handler(r)
	return pattern
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_control") {
		s.serveControl(w, r)
		return
	}
	route := s.route(r)
	isHook := strings.HasPrefix(r.URL.Path, "/rmq/auth/")
	defer s.control.begin(orUnknown(route), !isHook)()
	rec := &recorder{ResponseWriter: w}
	defer func() {
		if rec.status == 0 {
			s.control.answered("dropped")
		} else {
			s.control.answered(strconv.Itoa(rec.status))
		}
	}()
	done, after := s.misbehave(rec, r)
	if done {
		return
	}
	if after != nil {
		s.run(&nowhere{http.Header{}}, r, route)
		wait(r, time.Duration(after.StallMS)*time.Millisecond)
		if !after.apply(rec) {
			fail(rec, http.StatusInternalServerError, "injected fault")
		}
		return
	}
	s.run(rec, r, route)
}

// handle checks authentication and ownership, and then calls the endpoint.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, route string) {
	public := strings.HasPrefix(r.URL.Path, "/rmq/auth/") || r.URL.Path == "/users/login"
	if !public {
		if bearer(r) != "" {
			s.query()
		}
		who, err := s.verify(bearer(r))
		if err != nil {
			fail(w, http.StatusUnauthorized, errToken.Error())
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
		if rest, ok := strings.CutPrefix(r.URL.Path, "/projects/"); ok && route != "" {
			named, _, _ := strings.Cut(rest, "/")
			s.query()
			id, err := uuid.Parse(named)
			if err != nil {
				fail(w, http.StatusBadRequest, "Invalid project id")
				return
			}
			if p, ok := s.project(id.String()); !ok || p.UserID != who.UserID {
				fail(w, http.StatusNotFound, "Project not found")
				return
			}
		}
	}
	if route == "" {
		fail(w, http.StatusNotFound, "Resource not found")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// canonical returns the canonical spelling of a valid UUID.
func canonical(id string) string {
	u, err := uuid.Parse(id)
	if err != nil {
		return ""
	}
	return u.String()
}

func orUnknown(route string) string {
	if route == "" {
		return "unknown"
	}
	return route
}

// recorder stores the status for the counters.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// nowhere discards a response that has no recipient.
type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
