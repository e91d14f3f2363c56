package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoRedis is returned if redis-server is not installed.
var ErrNoRedis = errors.New("redis-server is missing: install it (Debian: apt-get install " +
	"redis-server; scripts/setup.sh test does it and starts no service)")

// Redis is a private Redis server on loopback. It keeps its data in memory: a restart loses them.
type Redis struct {
	*Process
	Addr string // 127.0.0.1:port
}

func startRedis(ctx context.Context, dir string, ports *portBlock) (*Redis, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoRedis
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	r.Process, err = StartProcess(ctx, ProcessSpec{
		Name: "redis-server", Path: bin, Dir: dir, Log: filepath.Join(dir, "redis.log"),
		Args: []string{
			"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "",
			"--appendonly", "no", "--daemonize", "no",
		},
		Ready: r.ping,
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Redis) ping(ctx context.Context) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") {
		err = fmt.Errorf("it answers %q to PING", line)
	}
	return err
}
