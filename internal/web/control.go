package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// SocketName is the name of the control socket in the data directory.
const SocketName = "control.sock"

// maxSocketPath bounds the path of a unix socket, in bytes (sun_path of unix(7) is 108 bytes with
// its NUL).
const maxSocketPath = 107

// ErrNotRunning means that no service listens on the control socket of a data directory.
var ErrNotRunning = errors.New("no textegress service runs on this data directory")

// ListenControl opens the control socket of a data directory, readable and writable by its owner
// only. The caller must hold the lock of the data directory, so an existing socket is stale and is
// replaced. Closing the listener removes the socket.
func ListenControl(dataDir string) (net.Listener, error) {
	path := filepath.Join(dataDir, SocketName)
	if conn, err := dialControl(context.Background(), dataDir); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("control socket %s: another process answers on it", path)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("control socket %s: something that is not a socket is "+
				"in its place; move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove a stale control socket: %w", err)
		}
	}
	addr, release, err := socketAddress(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	// The mode is set before the socket is bound to its path, so that others can never open it (on
	// Linux, the file has the mode of the socket's inode).
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		err := c.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}}
	listener, err := config.Listen(context.Background(), "unix", addr)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // its address may refer to a descriptor that is closed by then
	}
	return &controlListener{Listener: listener, path: path}, nil
}

type controlListener struct {
	net.Listener

	path  string
	close sync.Once
	err   error
}

// Close removes the socket's file and stops listening. A second call does nothing, because a file
// of that name may belong to another process by then.
func (l *controlListener) Close() error {
	l.close.Do(func() {
		removeErr := os.Remove(l.path)
		if errors.Is(removeErr, os.ErrNotExist) {
			removeErr = nil
		}
		l.err = errors.Join(removeErr, l.Listener.Close())
	})
	return l.err
}

// socketAddress returns an address for the control socket of a data directory, and a function to
// call after its use. If the path is too long for a socket address, the address refers to the
// directory through an open descriptor.
func socketAddress(dataDir string) (addr string, release func(), err error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(dataDir)
	if err != nil {
		return "", nil, fmt.Errorf("control socket: %w", err)
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
	if _, err := os.Stat(self); err != nil {
		_ = dir.Close()
		return "", nil, fmt.Errorf("control socket: the path of %s is longer than %d bytes, and "+
			"/proc is not there to shorten it; use a shorter DATA_DIR", path, maxSocketPath)
	}
	return self + "/" + SocketName, func() { _ = dir.Close() }, nil
}

func dialControl(ctx context.Context, dataDir string) (net.Conn, error) {
	addr, release, err := socketAddress(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", addr)
}

// ControlClient sends requests to the service that runs on a data directory.
type ControlClient struct {
	dataDir string
	http    *http.Client
}

// Dial returns a client for the service that runs on a data directory. Each call opens a new
// connection, and returns [ErrNotRunning] if no service runs.
func Dial(dataDir string) *ControlClient {
	return &ControlClient{
		dataDir: dataDir,
		http: &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialControl(ctx, dataDir)
			},
		}},
	}
}

// Status returns the status of the service.
func (c *ControlClient) Status(ctx context.Context) (Status, error) {
	var status Status
	err := c.do(ctx, http.MethodGet, "/status.json", nil, &status)
	return status, err
}

// Record starts the recording of a running session, and returns its egress id. If project is empty,
// the service finds the project of the session.
func (c *ControlClient) Record(ctx context.Context, sessionID, project string) (egressID string,
	err error,
) {
	body, err := json.Marshal(recordRequest{SessionID: sessionID, Project: project})
	if err != nil {
		return "", fmt.Errorf("encode the request: %w", err)
	}
	var resp recordResponse
	if err := c.do(ctx, http.MethodPost, "/record", body, &resp); err != nil {
		return "", err
	}
	return resp.EgressID, nil
}

// Page returns the address of the page with a token that logs in once.
func (c *ControlClient) Page(ctx context.Context) (url string, err error) {
	var resp pageResponse
	err = c.do(ctx, http.MethodPost, "/page", nil, &resp)
	return resp.URL, err
}

// Forget removes a participant from the recordings. request and into are of package erasure. It
// returns when those recordings have been derived, delivered and verified again.
func (c *ControlClient) Forget(ctx context.Context, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, "/forget", body, into)
}

func (c *ControlClient) do(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path,
		bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the service: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the service's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var failed recordResponse
		if json.Unmarshal(answer, &failed) == nil && failed.Error != "" {
			return errors.New(failed.Error)
		}
		return fmt.Errorf("the service answered %s", resp.Status)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("decode the service's answer: %w", err)
	}
	return nil
}

// unreachable explains why a request did not reach the service.
func (c *ControlClient) unreachable(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %s; start it with `textegress serve`, or name another "+
			"with --data-dir", ErrNotRunning, c.dataDir)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the control socket in %s may be used only by the user of the "+
			"service, and root: %w", c.dataDir, err)
	}
	return fmt.Errorf("ask the service: %w", err)
}
