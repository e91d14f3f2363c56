package standin

import (
	"cmp"
	"time"
)

// Limits are what the API has little of, and its times. What is zero is as the API has it.
type Limits struct {
	// Connections is the size of the database pool: 5. Every running session that this process made
	// holds one, from its creation until its listener has left the room.
	Connections int `json:"connections,omitempty"`
	// Threads is the number of worker threads: 4.
	Threads int `json:"threads,omitempty"`
	// PoolWait is how long a thread waits for a database connection: 30 s. The request that needed
	// it then dies, and with it the client's connection.
	PoolWait time.Duration `json:"pool_wait,omitempty"`
	// Query is how long a look into the database takes: 2 ms. The thread is blocked meanwhile.
	Query time.Duration `json:"query,omitempty"`
	// HeadTimeout is how long the first request of a connection may take to arrive: 5 s, then 408.
	// KeepAlive is how long a connection may be idle: 5 s. A thread that was blocked looks at the
	// clock before it looks at what has arrived.
	HeadTimeout time.Duration `json:"head_timeout,omitempty"`
	KeepAlive   time.Duration `json:"keep_alive,omitempty"`
	// Shutdown is how long the port stays taken after SIGTERM while clients hold connections: 20 s.
	Shutdown time.Duration `json:"shutdown,omitempty"`
	// ListenerPoll is the pause between two looks of a listener for its room: 5 s. ListenerLinger
	// is how long it holds its database connection after the room: 1 s.
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
