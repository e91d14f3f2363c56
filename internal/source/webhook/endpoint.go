package webhook

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// mostBody bounds the size of a request.
const mostBody = 1 << 20

// Endpoint is the handler for POST /livekit/webhook. The sources of several projects share it. A
// request belongs to the projects whose key signed it. If two projects have the same key, each
// queries its own server for the run of the room, so only projects that have the run announce it.
//
// It answers 200 when every announcement of the request is durable or there is nothing to announce,
// 401 to a request that no project's key signed or whose token has expired, 413 to one that is too
// large, 400 to one that is malformed, and 503 if the sender should retry the request.
type Endpoint struct {
	log *slog.Logger

	mu       sync.Mutex // guards the fields below
	sources  []*Source
	loggedAt time.Time // when a refused request was last logged
}

// NewEndpoint returns an Endpoint without sources.
func NewEndpoint(log *slog.Logger) *Endpoint { return &Endpoint{log: log} }

// Add adds the source of a project. The returned function removes it.
func (e *Endpoint) Add(s *Source) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sources = append(e.sources, s)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		var rest []*Source
		for _, x := range e.sources {
			if x != s {
				rest = append(rest, x)
			}
		}
		e.sources = rest
	}
}

// signed is a source whose key signed a request.
type signed struct {
	source  *Source
	matches func(body []byte) bool
}

// ServeHTTP implements [http.Handler]. It verifies the token before it reads the body.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	sources := e.sources
	e.mu.Unlock()
	var list []signed
	for _, s := range sources {
		if matches, err := s.o.Verify(r.Header.Get("Authorization")); err == nil {
			list = append(list, signed{s, matches})
		}
	}
	if len(list) == 0 {
		e.refuse(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		answer(w, http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		answer(w, http.StatusBadRequest)
		return
	}
	status, matched := http.StatusOK, false
	for _, s := range list {
		if s.matches(body) {
			matched = true
			status = max(status, s.source.receive(r.Context(), body))
		}
	}
	if !matched {
		e.refuse(w)
		return
	}
	answer(w, status)
}

// refuse rejects a request that no key signed, and logs that at most once per repeatLog.
func (e *Endpoint) refuse(w http.ResponseWriter) {
	e.mu.Lock()
	now := time.Now()
	again := now.Sub(e.loggedAt) < repeatLog
	if !again {
		e.loggedAt = now
	}
	e.mu.Unlock()
	if !again {
		e.log.Warn("refused a webhook: it is not signed with the LiveKit key of a project, or " +
			"its token has expired")
	}
	answer(w, http.StatusUnauthorized)
}

func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, http.StatusText(status)+"\n") // the sender reads the status only
}
