package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func script(t *testing.T, sh string) ProcessSpec {
	return ProcessSpec{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", sh},
		Log: filepath.Join(t.TempDir(), "log"),
	}
}

// eventually polls until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(
		10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func TestProcessFailureShowsLog(t *testing.T) {
	spec := script(t, "echo no such configuration; exit 3")
	spec.Ready = func(context.Context) error { return errors.New("never") }
	_, err := StartProcess(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "no such configuration") ||
		!strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v does not say what happened", err)
	}
}

func TestProcessSlowStartIsKilled(t *testing.T) {
	spec := script(t, "echo $$; sleep 1000")
	spec.Ready, spec.StartTimeout = func(context.Context) error { return errors.New("not yet") },
		300*time.Millisecond
	_, err := StartProcess(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Fatalf("error %v, want the last reason", err)
	}
	b, _ := os.ReadFile(spec.Log)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	if pid == 0 {
		t.Fatalf("log %q", b)
	}
	// The shell's own child is reaped by somebody else, in its own time.
	eventually(t, "the process group is gone", func() bool { return syscall.Kill(-pid, 0) != nil })
}

func TestProcessLifeCycle(t *testing.T) {
	p, err := StartProcess(t.Context(),
		script(t, "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.02; done"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	stateOf := func() string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		_, rest, _ := strings.Cut(string(b), ") ")
		return rest[:min(1, len(rest))]
	}
	eventually(t, "hello", func() bool { return strings.Contains(p.LogTail(100), "hello") })
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "frozen", func() bool { return stateOf() == "T" })
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "going on", func() bool { return stateOf() != "T" })
	first := p.PID()
	if err := p.Start(t.Context()); err == nil {
		t.Error("a running process could be started again")
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.PID() == first || !strings.Contains(p.LogTail(100), "bye") {
		t.Errorf("pid %d after %d, log %q: not stopped in order and started again", p.PID(), first,
			p.LogTail(100))
	}
	if err := p.Kill(); err != nil || p.Running() || p.PID() != 0 {
		t.Errorf("Kill: %v, running %v, pid %d", err, p.Running(), p.PID())
	}
	if err := errors.Join(p.Kill(), p.Stop(t.Context())); err != nil {
		t.Errorf("ending an ended process: %v", err)
	}
	if err := p.Pause(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Pause: %v, want ErrNotRunning", err)
	}
}

func TestProcessCPUTimeAddsUp(t *testing.T) {
	p, err := StartProcess(t.Context(), script(t, "while :; do :; done"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	used := func() time.Duration {
		d, err := p.CPUTime()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	eventually(t, "50 ms used", func() bool { return used() >= 50*time.Millisecond })
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	before := used()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "more after the restart",
		func() bool { return used() > before+20*time.Millisecond })
}

// TestChildrenDieWithParent runs this test binary again, has it start a process, and kills it.
func TestChildrenDieWithParent(t *testing.T) {
	if dir := os.Getenv("DEVSTACK_TEST_PARENT"); dir != "" {
		p, err := StartProcess(t.Context(), ProcessSpec{
			Name: "child", Path: "/bin/sleep",
			Args: []string{"1000"}, Log: filepath.Join(dir, "log"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tmp"), []byte(strconv.Itoa(p.PID())),
			0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "pid"))
		select {}
	}
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], "-test.run=^TestChildrenDieWithParent$")
	parent.Env = append(os.Environ(), "DEVSTACK_TEST_PARENT="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "child started", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "pid"))
		pid, _ = strconv.Atoi(string(b))
		return err == nil
	})
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, "child died", func() bool { return syscall.Kill(pid, 0) != nil })
}
