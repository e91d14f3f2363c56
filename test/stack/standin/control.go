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
)

// Fault makes matching requests fail before they are handled.
type Fault struct {
	// Status and Body are answered; the body of a JSON error if it is empty. Status 0 only applies
	// the other fields and then handles the request.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// StallMS waits first.
	StallMS int `json:"stall_ms,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`
	// After handles the request, and answers with the fault afterwards: it was done, and the caller
	// does not know.
	After bool `json:"after,omitempty"`
	// Times is how many requests fail; 0 is for ever.
	Times int `json:"times,omitempty"`
}

// Settings is the body of PUT /_control. It replaces what was set before; a restart forgets it.
type Settings struct {
	// Fail maps a regular expression, matched against "METHOD /path", to a fault.
	Fail map[string]Fault `json:"fail,omitempty"`
	// StallMS delays every request.
	StallMS int `json:"stall_ms,omitempty"`
	// NoRedis is a LiveKit without Redis: listing egresses fails, and with it every answer about a
	// running session.
	NoRedis bool `json:"no_redis,omitempty"`
	// Pool takes the place of Limits.Connections of the configuration. 0: it does not.
	Pool int `json:"pool,omitempty"`
	// NoListener makes sessions without the API's own listener in their room: nothing but a stop
	// through the API makes them Stopped, nobody holds the room open, and a thousand of them cost
	// this process nothing, nor a connection of its pool.
	NoListener bool `json:"no_listener,omitempty"`
}

// Counters is the answer to GET /_control.
type Counters struct {
	// Requests counts requests by route, such as "GET /projects/{p}/sessions"; "unknown" for what
	// is no route.
	Requests map[string]int `json:"requests"`
	// Statuses counts answers by status; "dropped" for connections closed without one.
	Statuses map[string]int `json:"statuses"`
	// MaxInFlight is the largest number of requests at once, RabbitMQ's hooks not counted.
	MaxInFlight int `json:"max_in_flight"`
	// Listening has the names of the rooms that this process is in and keeps open.
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

// fault takes the fault for a request. Of several that match, the first in alphabetical order
// counts.
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
// DELETE resets both, POST /_control/redeclare does what a restart of the API does for RabbitMQ.
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
// finished, and returns what to do after it was handled.
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
		panic(http.ErrAbortHandler) // net/http's way to close a connection without an answer
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
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}
