package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

// Fault makes matching requests fail before they are handled.
type Fault struct {
	// Status and Body form the response; an empty Body gives that of a JSON error. With Status 0,
	// the other fields apply and the request is then handled.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// StallMS is a delay before the response.
	StallMS int `json:"stall_ms,omitempty"`
	// Drop closes the connection without a response.
	Drop bool `json:"drop,omitempty"`
	// After handles the request and then responds with the fault: the request takes effect, but the
	// caller sees an error.
	After bool `json:"after,omitempty"`
	// Times is the number of requests that fail; 0: all.
	Times int `json:"times,omitempty"`
}

// Settings is the body of PUT /_control. It replaces the previous settings; a restart resets them.
type Settings struct {
	// Fail maps a regular expression, matched against "METHOD /path", to a fault.
	Fail map[string]Fault `json:"fail,omitempty"`
	// StallMS delays every request.
	StallMS int `json:"stall_ms,omitempty"`
	// NoRedis simulates a LiveKit without Redis: listing egresses fails, and therefore every
	// request about a running session.
	NoRedis bool `json:"no_redis,omitempty"`
	// Pool overrides Limits.Connections of the configuration; 0: no override.
	Pool int `json:"pool,omitempty"`
	// NoListener creates sessions without the API's own listener in their room: only a stop through
	// the API makes them Stopped, no listener keeps the room open, and a thousand of them cost this
	// process neither resources nor database connections.
	NoListener bool `json:"no_listener,omitempty"`
}

// Counters is the response to GET /_control.
type Counters struct {
	// Requests counts requests by route, such as "GET /projects/{p}/sessions"; "unknown" if there
	// is no route.
	Requests map[string]int `json:"requests"`
	// Statuses counts responses by status; "dropped" for connections closed without a response.
	Statuses map[string]int `json:"statuses"`
	// MaxInFlight is the largest number of concurrent requests, without RabbitMQ's hooks.
	MaxInFlight int `json:"max_in_flight"`
	// Listening lists the names of the rooms that this process has joined and keeps open.
	Listening []string `json:"listening"`
	// Connections is the number of database connections in use.
	Connections int      `json:"connections"`
	Settings    Settings `json:"settings"`
}

type control struct {
	mu       sync.Mutex
	settings Settings
	patterns map[string]*regexp.Regexp
	counters Counters
	inFlight int
}

func newControl() *control {
	return &control{counters: Counters{Requests: map[string]int{}, Statuses: map[string]int{}}}
}

func (c *control) set(s Settings) error {
	patterns := map[string]*regexp.Regexp{}
	for p := range s.Fail {
		re, err := regexp.Compile(p)
		if err != nil {
			return err
		}
		patterns[p] = re
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settings, c.patterns = s, patterns
	return nil
}

func (c *control) get() Settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings
}

// fault takes the fault for a request. If several match, it takes the first in alphabetical order.
func (c *control) fault(request string) (Fault, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range slices.Sorted(maps.Keys(c.settings.Fail)) {
		if !c.patterns[p].MatchString(request) {
			continue
		}
		f := c.settings.Fail[p]
		switch {
		case f.Times == 1:
			delete(c.settings.Fail, p)
		case f.Times > 1:
			left := f
			left.Times--
			c.settings.Fail[p] = left
		}
		return f, true
	}
	return Fault{}, false
}

func (c *control) begin(route string, counted bool) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.Requests[route]++
	if !counted {
		return func() {}
	}
	c.inFlight++
	c.counters.MaxInFlight = max(c.counters.MaxInFlight, c.inFlight)
	return func() { c.mu.Lock(); c.inFlight--; c.mu.Unlock() }
}

func (c *control) answered(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.Statuses[status]++
}

// serveControl handles /_control: GET reads counters and settings, PUT replaces the settings,
// DELETE resets both, POST /_control/redeclare reconnects to RabbitMQ as a restart of the API does.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	c := s.control
	switch r.Method + " " + r.URL.Path {
	case "GET /_control":
		c.mu.Lock()
		out := c.counters
		out.Requests, out.Statuses, out.Settings = maps.Clone(out.Requests),
			maps.Clone(out.Statuses), c.settings
		out.Settings.Fail = maps.Clone(out.Settings.Fail)
		c.mu.Unlock()
		out.Listening, out.Connections = s.listening(), s.pool.inUse()
		reply(w, out)
	case "PUT /_control":
		var in Settings
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(b, &in)
		}
		if err == nil {
			err = c.set(in)
		}
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		s.limit()
		reply(w, in)
	case "DELETE /_control":
		c.mu.Lock()
		c.counters = Counters{Requests: map[string]int{}, Statuses: map[string]int{}}
		c.settings, c.patterns = Settings{}, nil
		c.mu.Unlock()
		s.limit()
		reply(w, nil)
	case "POST /_control/redeclare":
		if err := s.rmq.connect(); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		reply(w, nil)
	default:
		fail(w, http.StatusNotFound, "no such control")
	}
}

// misbehave applies the stall and the fault of a request. It reports whether the request is
// finished, and returns the fault to apply after the request is handled.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request) (done bool, after *Fault) {
	if ms := s.control.get().StallMS; ms > 0 {
		wait(r, time.Duration(ms)*time.Millisecond)
	}
	f, ok := s.control.fault(r.Method + " " + r.URL.Path)
	if !ok {
		return false, nil
	}
	if f.After {
		return false, &f
	}
	wait(r, time.Duration(f.StallMS)*time.Millisecond)
	return f.apply(w), nil
}

func (f Fault) apply(w http.ResponseWriter) (done bool) {
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler) // makes net/http close the connection without a response
	case f.Status == 0:
		return false
	case f.Body == "":
		fail(w, f.Status, fmt.Sprintf("injected fault %d", f.Status))
	default:
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body)
	}
	return true
}

func wait(r *http.Request, d time.Duration) {
	_ = backoff.Sleep(r.Context(), d) // who asked may be gone
}
