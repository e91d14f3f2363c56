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

// poller tells sockets that something has arrived. It has an epoll descriptor of its own, on which
// its goroutine waits as on any file, with the runtime's poller: so the runtime is woken once for
// all sockets, and not at all while the goroutine is not waiting.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	done chan struct{} // closed with the last socket
	read atomic.Int64  // packets since the last look

	mu    sync.Mutex
	conns map[int32]*Conn
}

// The poller of all sockets. It is there while there is one.
var (
	sharedMu sync.Mutex
	shared   *poller
)

// add puts a socket under the poller, which is started if it is the first.
func add(c *Conn) error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		p, err := newPoller()
		if err != nil {
			return err
		}
		shared = p
		go p.run()
	}
	p := shared
	p.mu.Lock()
	p.conns[int32(c.fd)] = c
	p.mu.Unlock()
	// Edge-triggered: a socket is told once that something has come, and reads until nothing is
	// left.
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, c.fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(c.fd)})
	if err != nil {
		p.remove(c)
		return fmt.Errorf("epoll: %w", err)
	}
	c.poller = p
	return nil
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// else os does not wait with the runtime's poller
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{
		file: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{}),
		conns: map[int32]*Conn{},
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

// remove takes a socket out. With the last one the poller ends. sharedMu is held.
func (p *poller) remove(c *Conn) {
	p.mu.Lock()
	delete(p.conns, int32(c.fd))
	last := len(p.conns) == 0
	p.mu.Unlock()
	if last {
		shared = nil
		close(p.done)
		_ = p.file.Close()
	}
}

func (p *poller) run() {
	var events [128]unix.EpollEvent
	var pc pacer
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err error
			for { // what is there must be fetched now: nothing tells of it again
				if n, err = unix.EpollWait(int(fd), events[:], 0); !errors.Is(err, unix.EINTR) {
					return n > 0
				}
			}
		})
		if err != nil {
			return // the poller was closed
		}
		now := time.Now()
		p.wake(events[:n])
		if n == len(events) { // there may be more
			continue
		}
		if d := pc.wait(now, int(p.read.Swap(0))); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-p.done:
				return
			}
		}
	}
}

func (p *poller) wake(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if c := p.conns[e.Fd]; c != nil { // else it was closed meanwhile
			select {
			case c.ready <- struct{}{}:
			default: // it knows
			}
		}
	}
}
