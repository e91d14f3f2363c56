package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/syncflow/textegress/internal/web"
)

// Recorder is the real textegress binary as a child process, in its own directory with a .env file,
// as a user runs it.
type Recorder struct {
	*Process
	Dir string // working directory: .env and textegress-data
	URL string // base URL of its HTTP server

	bin string
}

// NewRecorder prepares a recorder of all projects of the stack in dir, without starting it. Extra
// lines ("KEY=value") are added to its .env.
func (s *Stack) NewRecorder(ctx context.Context, dir string, extra ...string) (*Recorder, error) {
	return s.NewRecorderOf(ctx, dir, nil, extra...)
}

// NewRecorderOf is NewRecorder for the given projects; none: all. Several recorders of one project
// each record everything.
func (s *Stack) NewRecorderOf(ctx context.Context, dir string, projects []Project,
	extra ...string,
) (*Recorder, error) {
	bins, err := EnsureBinaries(ctx, BinTextegress)
	if err != nil {
		return nil, err
	}
	port, err := s.ports.tcp()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	lines := append(s.Env(projects...), "HTTP_ADDR="+addr)
	if _, err := writeDotEnv(dir, append(lines, extra...)); err != nil {
		return nil, err
	}
	r := &Recorder{Dir: dir, URL: "http://" + addr, bin: filepath.Join(bins, BinTextegress)}
	r.Process = &Process{spec: ProcessSpec{
		Name: "textegress", Path: r.bin, Dir: dir, Log: filepath.Join(dir, "textegress.log"),
		StopTimeout: 90 * time.Second,
		Ready:       func(ctx context.Context) error { return httpOK(ctx, r.URL+"/readyz") },
	}}
	return r, nil
}

// StartRecorder starts a recorder and waits until it is ready: every project connected to its
// broker.
func (s *Stack) StartRecorder(ctx context.Context, dir string, extra ...string) (*Recorder, error) {
	r, err := s.NewRecorder(ctx, dir, extra...)
	if err != nil {
		return nil, err
	}
	return r, r.Start(ctx)
}

// RecorderStatus is the content of /status.json.
type RecorderStatus = web.Status

// Status reads /status.json.
func (r *Recorder) Status(ctx context.Context) (RecorderStatus, error) {
	var st RecorderStatus
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/status.json", nil)
	if err != nil {
		return st, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return st, fmt.Errorf("status of the recorder: %w", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return st, fmt.Errorf("status of the recorder: %w", err)
	}
	return st, nil
}

// Until polls the status until ok returns true.
func (r *Recorder) Until(ctx context.Context, what string, ok func(RecorderStatus) bool) error {
	var last RecorderStatus
	var lastErr error
	err := Poll(ctx, func() bool {
		last, lastErr = r.Status(ctx)
		return lastErr == nil && ok(last)
	})
	if err != nil {
		b, _ := json.MarshalIndent(last, "", "  ")
		return fmt.Errorf("waiting until %s: %w\nlast status: %s\n%s", what,
			errors.Join(err, lastErr), b, r.LogTail(6000))
	}
	return nil
}

// Poll calls ok every 50 ms until it returns true or ctx ends.
func Poll(ctx context.Context, ok func() bool) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// CLI runs a subcommand in the recorder's directory.
func (r *Recorder) CLI(ctx context.Context, args ...string) (stdout, stderr string, code int,
	err error,
) {
	c := exec.CommandContext(ctx, r.bin, args...)
	c.Dir = r.Dir
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err = c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errOut.String(), exit.ExitCode(), nil
	}
	return out.String(), errOut.String(), 0, err
}
