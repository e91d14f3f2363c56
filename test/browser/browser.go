// Package browser drives a headless Chromium over the DevTools protocol, without a library: pages
// of a chosen size and colour scheme, what they show, their console, their requests, and pictures
// of them.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Browser is a running Chromium.
type Browser struct {
	cmd  *exec.Cmd
	dir  string
	send io.WriteCloser
	done chan struct{} // closed when nothing more is received

	mu      sync.Mutex // guards the rest, and writing
	id      int
	waiting map[int]chan answer
	pages   map[string]*Page
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Find returns the path of a Chromium, or an error that says how to install it.
func Find() (string, error) {
	names := []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"}
	for _, name := range names {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium: install it (Debian: apt-get install chromium; " +
		"scripts/setup.sh test does it) or set CHROMIUM to its path")
}

// Start starts a browser that reaches no address but 127.0.0.1. Close ends it.
func Start(path string) (*Browser, error) {
	dir, err := os.MkdirTemp("", "textegress-browser-")
	if err != nil {
		return nil, err
	}
	theirIn, send, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	receive, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "chromium.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	b := &Browser{
		cmd: exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
			"--disable-quic", "--disable-background-networking", "--disable-component-update",
			"--disable-sync", "--disable-dev-shm-usage", "--disable-extensions",
			"--no-proxy-server", "--hide-scrollbars", "--force-color-profile=srgb",
			"--font-render-hinting=none",
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
			"--remote-debugging-pipe", "--user-data-dir="+filepath.Join(dir, "profile")),
		dir: dir, send: send, done: make(chan struct{}),
		waiting: map[int]chan answer{}, pages: map[string]*Page{},
	}
	b.cmd.Env = append(os.Environ(), "HOME="+dir, "TZ=Europe/Berlin")
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Chromium: %w", err)
	}
	_ = theirIn.Close()
	_ = theirOut.Close()
	go b.receive(receive)
	return b, nil
}

// Close ends the browser and removes its files.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = b.call(ctx, "", "Browser.close", nil)
	select {
	case <-b.done:
	case <-ctx.Done():
		_ = b.cmd.Process.Kill()
	}
	_ = b.send.Close()
	_ = b.cmd.Wait()
	// Children of Chromium may still write after it has ended.
	for {
		err := os.RemoveAll(b.dir)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// receive reads messages, each ended by a NUL, until the browser ends.
func (b *Browser) receive(r io.ReadCloser) {
	defer close(b.done)
	defer func() { _ = r.Close() }()
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			answer

			ID        int             `json:"id"`
			SessionID string          `json:"sessionId"`
			Method    string          `json:"method"`
			Params    json.RawMessage `json:"params"`
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		waiting, page := b.waiting[m.ID], b.pages[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case waiting != nil:
			waiting <- m.answer
		case page != nil && m.Method != "":
			page.event(m.Method, m.Params)
		}
	}
}

// call sends a command and waits for its result.
func (b *Browser) call(ctx context.Context, session, method string, params any) (json.RawMessage,
	error,
) {
	c := make(chan answer, 1)
	b.mu.Lock()
	b.id++
	m := map[string]any{"id": b.id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	b.waiting[b.id] = c
	data, err := json.Marshal(m)
	if err == nil {
		_, err = b.send.Write(append(data, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-c:
		if a.Error != nil {
			return nil, fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		return a.Result, nil
	case <-b.done:
		return nil, fmt.Errorf("%s: the browser has ended", method)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", method, ctx.Err())
	}
}
