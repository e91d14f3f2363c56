// Package recordertest provides connections to rooms for tests.
package recordertest

import (
	"context"
	"sync"

	"github.com/syncflow/textegress/internal/room"
)

// Conn implements recorder.Conn. It lasts until [Conn.Stop] or [Conn.Leave] is called.
type Conn struct {
	Handler room.Handler // receives what a test has others send

	done chan struct{}
	once sync.Once
	end  room.Disconnect
}

// NewConn returns a connection whose packets and events go to h.
func NewConn(h room.Handler) *Conn { return &Conn{Handler: h, done: make(chan struct{})} }

// Stop ends the connection. Only the first reason counts.
func (c *Conn) Stop(r room.Reason) {
	c.once.Do(func() { c.end = room.Disconnect{Reason: r}; close(c.done) })
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// End returns how the connection ended. It is valid once Done is closed.
func (c *Conn) End() room.Disconnect { return c.end }

// Leave ends the connection with [room.ReasonLeft].
func (c *Conn) Leave(context.Context) { c.Stop(room.ReasonLeft) }
