package standin

import (
	"cmp"
	"time"
)

// Limits are the API's limits and times. A zero field has the API's value.
type Limits struct {
	// Connections is the size of the database pool: 5. Every running session created by this
	// process holds one, from its creation until its listener has left the room.
	Connections int `json:"connections,omitempty"`
	// Threads is the number of worker threads: 4.
	Threads int `json:"threads,omitempty"`
	// PoolWait is how long a thread waits for a database connection: 30 s. After that, the request
	// fails and the client's connection closes.
	PoolWait time.Duration `json:"pool_wait,omitempty"`
	// Query is the duration of a database query: 2 ms, during which the thread is blocked.
	Query time.Duration `json:"query,omitempty"`
	// HeadTimeout is how long the first request of a connection may take to arrive: 5 s, then 408.
	// KeepAlive is how long a connection may be idle: 5 s. A thread that was blocked checks these
	// timeouts before it reads arrived data.
	HeadTimeout time.Duration `json:"head_timeout,omitempty"`
	KeepAlive   time.Duration `json:"keep_alive,omitempty"`
	// Shutdown is how long the port stays taken after SIGTERM while clients hold connections: 20 s.
	Shutdown time.Duration `json:"shutdown,omitempty"`
	// ListenerPoll is the interval at which a listener polls for its room: 5 s. ListenerLinger is
	// how long it holds its database connection after it has left the room: 1 s.
	ListenerPoll   time.Duration `json:"listener_poll,omitempty"`
	ListenerLinger time.Duration `json:"listener_linger,omitempty"`
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 5)
	l.Threads = cmp.Or(l.Threads, 4)
	l.PoolWait = cmp.Or(l.PoolWait, 30*time.Second)
	l.Query = cmp.Or(l.Query, 2*time.Millisecond)
	l.HeadTimeout = cmp.Or(l.HeadTimeout, 5*time.Second)
	l.KeepAlive = cmp.Or(l.KeepAlive, 5*time.Second)
	l.Shutdown = cmp.Or(l.Shutdown, 20*time.Second)
	l.ListenerPoll = cmp.Or(l.ListenerPoll, 5*time.Second)
	l.ListenerLinger = cmp.Or(l.ListenerLinger, time.Second)
	return l
}
