package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	if dir := os.Getenv("STACK_TEST_PARENT"); dir != "" {
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
	parent.Env = append(os.Environ(), "STACK_TEST_PARENT="+dir)
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
