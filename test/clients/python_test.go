package clients

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress/test/stack"
)

// pythonRoot makes sure that the packages of the apps in Python are installed, as their
// requirements say, and returns the folder that has one virtual environment per version. An error
// says what is missing and how it is installed.
func pythonRoot(ctx context.Context) (string, error) {
	root, err := stack.Root()
	if err != nil {
		return "", err
	}
	if b, err := exec.CommandContext(ctx,
		filepath.Join(root, "scripts", "python.sh")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/python.sh: %w\n%s", err, b)
	}
	return filepath.Join(root, "build", "python"), nil
}

// startPython runs the jobs of one version of the SDK in one process, which stays in the rooms
// until the sessions end.
func (d *desk) startPython(t *testing.T, python string, version sdkID, jobs []job) {
	t.Helper()
	program := must(filepath.Abs(filepath.Join("apps", "python", "send.py")))(t)
	args := []string{"-B", program, d.url}
	for _, j := range jobs {
		args = append(args, j.ID)
	}
	dir := t.TempDir()
	p, err := stack.StartProcess(t.Context(), stack.ProcessSpec{
		Name: string(version), Path: filepath.Join(python, string(version), "bin", "python"),
		Args: args, Dir: dir,
		Log: filepath.Join(dir, "python.log"), Env: []string{"TMPDIR=" + dir}, // removed with it
	})
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", version, p.LogTail(4000))
		}
		check(t, p.Kill())
	})
}
