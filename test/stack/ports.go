package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Ports are taken from blocks below the kernel's ephemeral range (32768 and up on Linux). The
// kernel could assign a port from that range to an outgoing connection while its server is down, so
// that the server could not reopen it.
const (
	firstPort     = 10000
	portsPerBlock = 1000
	portBlocks    = 22
	// the first ports of a block are for TCP listeners, those from 100 on are LiveKit's UDP range
	tcpPerBlock = 60
)

// portBlock is a range of ports that belongs to this process until it ends (or calls release).
// Other processes that use this package respect the reservation, so several test binaries can run
// at once.
type portBlock struct {
	first int
	lock  *os.File

	mu   sync.Mutex
	next int
}

var errNoPorts = errors.New("stack: every block of ports is in use by other stacks")

// takePortBlock reserves a free block. The reservation is a lock on a file in the temporary
// directory and ends with the process.
func takePortBlock() (*portBlock, error) {
	dir := filepath.Join(os.TempDir(), "textegress-stack-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("stack: reserving ports: %w", err)
	}
	// several users may share the machine; the change fails if another user created the directory
	_ = os.Chmod(dir, 0o777)
	for i := range portBlocks {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(firstPort+i*portsPerBlock)),
			os.O_CREATE|os.O_RDONLY, 0o666)
		if errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stack: reserving ports: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			continue
		}
		return &portBlock{first: firstPort + i*portsPerBlock, lock: f}, nil
	}
	return nil, errNoPorts
}

// tcp returns the next port of the block that can be bound.
func (b *portBlock) tcp() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.next < tcpPerBlock {
		p := b.first + b.next
		b.next++
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue // another server uses it
		}
		l.Close()
		return p, nil
	}
	return 0, fmt.Errorf("stack: no TCP port is free between %d and %d", b.first,
		b.first+tcpPerBlock-1)
}

// udpRange returns the first and the last port that LiveKit may use for WebRTC.
func (b *portBlock) udpRange() (first, last int) {
	return b.first + 100,
		b.first + portsPerBlock - 1
}

// relayRange returns the first and the last port that LiveKit's TURN server may use for its relays.
func (b *portBlock) relayRange() (first, last int) { return b.first + tcpPerBlock, b.first + 99 }

func (b *portBlock) release() { b.lock.Close() }
