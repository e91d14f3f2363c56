package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNotRunning is returned when a process to be signalled has ended or was never started.
var ErrNotRunning = errors.New("the process is not running")

// ProcessSpec describes how to start a server. It does not change during the life of the Process,
// so a restart repeats the same start.
type ProcessSpec struct {
	Name string
	Path string
	Args []string
	Env  []string // added to this process's environment
	Dir  string
	Log  string // file that receives stdout and stderr, appended to

	// Ready is polled until it returns nil. Nil: the process is ready at once.
	Ready func(ctx context.Context) error
	// StartTimeout is how long Ready may take; default 30 s.
	StartTimeout time.Duration
	// StopTimeout is how long the process may take to end after SIGTERM before it is killed;
	// default 20 s.
	StopTimeout time.Duration
}

// Process is a child process that can be killed, stopped, frozen and restarted. It leads its own
// process group, to which all signals go. Its methods may be called from several goroutines.
type Process struct {
	spec ProcessSpec

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // of cmd
	state  *os.ProcessState
	paused bool
	used   time.Duration // CPU time of earlier runs
}

// spawner runs functions on one operating system thread that exists until this process ends. The
// kernel sends the parent death signal when the *thread* that forked ends, and the Go runtime may
// end threads at any time.
var spawner = sync.OnceValue(func() chan<- func() {
	ch := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range ch {
			f()
		}
	}()
	return ch
})

// StartProcess starts a child process and waits until it is ready. If it does not become ready, the
// error contains the end of its log and nothing is left running. The end of ctx ends the wait, not
// the process.
func StartProcess(ctx context.Context, spec ProcessSpec) (*Process, error) {
	p := &Process{spec: spec}
	return p, p.Start(ctx)
}

// Start starts a process that is not running and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Spawn(); err != nil {
		return err
	}
	if err := p.WaitReady(ctx); err != nil {
		_ = p.Kill()
		return err
	}
	return nil
}

// Spawn starts a process that is not running and does not wait until it is ready, so that it can be
// killed while it starts.
func (p *Process) Spawn() error {
	if err := p.spawn(); err != nil {
		return fmt.Errorf("starting %s: %w", p.spec.Name, err)
	}
	return nil
}

func (p *Process) spawn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && !isClosed(p.exited) {
		return errors.New("it is already running")
	}
	if err := os.MkdirAll(filepath.Dir(p.spec.Log), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(p.spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Dir, cmd.Env = p.spec.Dir, append(os.Environ(), p.spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.state, p.paused = cmd, exited, nil, false
	go func() {
		_ = cmd.Wait() // the process state holds the result
		p.mu.Lock()
		p.state = cmd.ProcessState
		p.used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// WaitReady waits until the process is ready, has ended, or the start timeout has passed.
func (p *Process) WaitReady(ctx context.Context) error {
	if p.spec.Ready == nil {
		return nil
	}
	limit := orDefault(p.spec.StartTimeout, 30*time.Second)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	exited := p.Exited()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.spec.Ready(ctx)
		if err == nil && !isClosed(exited) {
			return nil
		}
		select {
		case <-exited:
			return p.failure(fmt.Errorf("it ended while starting (%v)", p.exitState()))
		case <-ctx.Done():
			return p.failure(fmt.Errorf("it was not ready within %v: %w", limit, err))
		case <-tick.C:
		}
	}
}

func (p *Process) failure(err error) error {
	return fmt.Errorf("starting %s: %w\n--- end of %s\n%s", p.spec.Name, err, p.spec.Log,
		p.LogTail(4000))
}

func (p *Process) exitState() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.String()
}

// Name returns the name of the server, for messages.
func (p *Process) Name() string { return p.spec.Name }

// LogPath returns the file with the output of all runs of the process.
func (p *Process) LogPath() string { return p.spec.Log }

// Exited returns a channel that is closed when the current run ends.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exited == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	return p.exited
}

// Running reports whether the process is running. A paused process is running.
func (p *Process) Running() bool { return !isClosed(p.Exited()) }

// PID returns the process id of the current run, or 0 if the process is not running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pidLocked()
}

func (p *Process) pidLocked() int {
	if p.cmd == nil || isClosed(p.exited) {
		return 0
	}
	return p.cmd.Process.Pid
}

// signal sends a signal to the process group. The lock prevents reuse of the id: the goroutine that
// reaps the process and closes the channel takes the same lock.
func (p *Process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := p.pidLocked()
	if pid == 0 || p.state != nil {
		return fmt.Errorf("%s: %w", p.spec.Name, ErrNotRunning)
	}
	if err := syscall.Kill(-pid, s); err != nil {
		return fmt.Errorf("%s: sending %v: %w", p.spec.Name, s, err)
	}
	switch s {
	case syscall.SIGSTOP:
		p.paused = true
	case syscall.SIGCONT:
		p.paused = false
	}
	return nil
}

// Kill ends the process group with SIGKILL, like a crash, and waits for the end. It does nothing if
// the process is not running.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-p.Exited()
	}
	if errors.Is(err, ErrNotRunning) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Stop ends the process with SIGTERM and waits for the end. It resumes a paused process first. If
// the process takes too long, Stop kills it and returns an error. It does nothing if the process is
// not running.
func (p *Process) Stop(ctx context.Context) error {
	_ = p.signal(syscall.SIGCONT)
	if err := p.signal(syscall.SIGTERM); err != nil {
		return p.Kill()
	}
	limit := orDefault(p.spec.StopTimeout, 20*time.Second)
	t := time.NewTimer(limit)
	defer t.Stop()
	exited := p.Exited()
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		_ = p.Kill()
		return fmt.Errorf("stopping %s: killed: %w", p.spec.Name, ctx.Err())
	case <-t.C:
		_ = p.Kill()
		return fmt.Errorf("stopping %s: killed after %v", p.spec.Name, limit)
	}
}

// Restart stops the process if it is running and starts it with the same ports and the same
// directory.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	return p.Start(ctx)
}

// Pause freezes the process group (SIGSTOP): its connections stay open but nothing responds.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume ends a Pause (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// Paused reports whether the process is paused.
func (p *Process) Paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// CPUTime returns the user and system time used by all runs of the process so far. It includes
// children that the process has waited for.
func (p *Process) CPUTime() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := p.pidLocked()
	if pid == 0 || p.state != nil {
		return p.used, nil
	}
	d, err := cpuTime(pid)
	return p.used + d, err
}

// cpuTime reads user and system time from /proc, which counts in hundredths of a second on every
// Linux that Go runs on.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ") // the name in brackets may contain spaces
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("unexpected content of /proc/%d/stat", pid)
	}
	var sum int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil
}

// LogTail returns the last n bytes of the log, starting at a line.
func (p *Process) LogTail(n int64) string {
	f, err := os.Open(p.spec.Log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	if _, after, ok := bytes.Cut(b, []byte("\n")); ok && int64(len(b)) == n {
		b = after
	}
	return string(b)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
