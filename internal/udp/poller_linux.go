package udp

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller opens sockets and wakes their readers when packets have arrived. The zero value polls
// immediately; see [Interval]. A Poller is safe for concurrent use.
type Poller struct {
	// Interval is the longest time that packets wait under load; 0: packets do not wait.
	Interval time.Duration

	read atomic.Int64 // packets since the last poll

	mu    sync.Mutex
	conns map[int32]*Conn
	epoll *epoll // nil if there are no sockets
}

// epoll is an epoll descriptor. A goroutine waits on it through the runtime's poller, as on any
// file. The runtime is therefore woken once for all sockets, and not at all while the goroutine is
// not waiting.
type epoll struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	done chan struct{} // closed when the last socket is closed
}

// add starts polling a socket.
func (p *Poller) add(c *Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoll == nil {
		e, err := newEpoll()
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		p.epoll, p.conns = e, map[int32]*Conn{}
		go p.run(e)
	}
	p.conns[int32(c.fd)] = c
	// Edge-triggered: a reader is woken once and reads until nothing is left.
	err := unix.EpollCtl(p.epoll.fd, unix.EPOLL_CTL_ADD, c.fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(c.fd)})
	if err != nil {
		p.removeLocked(c)
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// package os uses the runtime's poller for non-blocking descriptors only
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	e := &epoll{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{})}
	if e.raw, err = e.file.SyscallConn(); err != nil {
		_ = e.file.Close()
		return nil, err
	}
	return e, nil
}

// remove stops polling a socket. The goroutine ends when the last socket is removed.
func (p *Poller) remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(c)
}

func (p *Poller) removeLocked(c *Conn) {
	delete(p.conns, int32(c.fd))
	if len(p.conns) == 0 {
		close(p.epoll.done)
		_ = p.epoll.file.Close()
		p.epoll = nil
	}
}

func (p *Poller) run(e *epoll) {
	var events [128]unix.EpollEvent
	limiter := wakeLimiter{interval: p.Interval}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		n := 0
		err := e.raw.Read(func(fd uintptr) bool {
			var err error
			for { // events must be fetched now: epoll does not report them again
				if n, err = unix.EpollWait(int(fd), events[:], 0); !errors.Is(err, unix.EINTR) {
					return n > 0
				}
			}
		})
		if err != nil {
			return // the descriptor was closed
		}
		now := time.Now()
		p.wake(events[:n])
		if n == len(events) { // more may be ready
			continue
		}
		if d := limiter.wait(now, int(p.read.Swap(0))); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-e.done:
				return
			}
		}
	}
}

func (p *Poller) wake(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if c := p.conns[e.Fd]; c != nil { // nil: closed in the meantime
			select {
			case c.ready <- struct{}{}:
			default: // already signalled
			}
		}
	}
}
