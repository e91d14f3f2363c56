package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress/test/stack"
)

// startNode runs all jobs in one Node process, which stays in the rooms until the sessions end.
func (d *desk) startNode(t *testing.T, npm string, jobs []job) {
	t.Helper()
	// Node looks for packages beside the program.
	program := filepath.Join(npm, "node", "send.mjs")
	check(t, os.WriteFile(program, must(os.ReadFile(filepath.Join("apps", "node", "send.mjs")))(t),
		0o644))
	args := []string{program, d.url}
	for _, j := range jobs {
		args = append(args, j.ID)
	}
	dir := t.TempDir()
	p, err := stack.StartProcess(t.Context(), stack.ProcessSpec{
		// removed with it
		Name: "node", Path: "/usr/bin/env", Args: append([]string{"node"}, args...), Dir: dir,
		Log: filepath.Join(dir, "node.log"), Env: []string{"TMPDIR=" + dir},
	})
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Node's log:\n%s", p.LogTail(4000))
		}
		check(t, p.Kill())
	})
}
