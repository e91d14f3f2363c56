package apidoc

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/api"
)

const manifest = "s3://recordings/livekit/Biology 2/data-egress/DE_000000000001/manifest.json"

// TestCurl runs the example with curl, openssl and jq.
func TestCurl(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "jq")
	x := newTarget(t)
	out := output(t, x.command(t, t.TempDir(), "bash", "-euo", "pipefail", "-c",
		read(t, filepath.Join("examples", "record.sh"))))
	want := []string{"DE_000000000001 EGRESS_ACTIVE", "EGRESS_ENDING", "{"}
	lines := strings.Split(out, "\n")
	if diff := cmp.Diff(want, lines[:min(len(lines), 3)]); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{
		`"status": "EGRESS_COMPLETE"`, `"packets": "42"`, `"tail": "left"`, `"final": true`,
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %s in the statement:\n%s", part, out)
		}
	}
	wantTopics(t, x)
}

// wantTopics fails unless the first recording is limited to the topic of the examples.
func wantTopics(t *testing.T, x *target) {
	t.Helper()
	if got := x.service.Request("DE_000000000001").Topics; len(got) != 1 || got[0] != "lk.chat" {
		t.Errorf("topics %v", got)
	}
}

// TestGo runs the example of the Go client.
func TestGo(t *testing.T) {
	x := newTarget(t)
	program := filepath.Join(t.TempDir(), "goclient")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/goclient")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c := x.command(t, t.TempDir(), program)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(stdout); scan.Scan(); {
		lines = append(lines, scan.Text())
		if len(lines) == 1 { // it records until it is interrupted
			if err := c.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if diff := cmp.Diff([]string{
		"recording DE_000000000001", "EGRESS_COMPLETE " + manifest,
		"Packets: 42, in 40 messages. Outages: 0.",
	}, lines); diff != "" {
		t.Error(diff)
	}
	wantTopics(t, x)
}

// TestJavaScript runs the example with LiveKit's SDK for Node.js.
func TestJavaScript(t *testing.T) {
	needs(t, "node", "npm")
	x := newTarget(t)
	install := exec.CommandContext(t.Context(), "scripts/npm.sh", "server")
	install.Dir = root(t)
	if b, err := install.CombinedOutput(); err != nil {
		t.Fatalf("scripts/npm.sh server: %v\n%s", err, b)
	}
	// Node looks for packages beside the program.
	dir := filepath.Join(root(t), "build", "npm", "server")
	program := filepath.Join(dir, "record.mjs")
	if err := os.WriteFile(program, []byte(read(t, filepath.Join("examples", "record.mjs"))),
		0o644); err != nil {
		t.Fatal(err)
	}
	out := output(t, x.command(t, dir, "node", program))
	want := "DE_000000000001 Biology 2 EGRESS_ACTIVE\nEGRESS_COMPLETE " + manifest + "\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if id := x.service.Request("DE_000000000001").RequestID; id != "biology-2026-11-30" {
		t.Errorf("request id %q", id)
	}
}

// TestLK runs the example with `lk` if it is installed, otherwise with its calls, see lk_test.go.
func TestLK(t *testing.T) {
	needs(t, "bash")
	x := newTarget(t)
	e, err := x.service.Start(t.Context(), project, api.Start{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	const sampleURL, sampleID = "http://127.0.0.1:9464", "DE_x7Kq2LmPz0aB"
	script := read(t, filepath.Join("examples", "lk.sh"))
	for _, sample := range []string{sampleURL, sampleID} {
		if strings.Count(script, sample) != 1 {
			t.Errorf("%s is not once in examples/lk.sh", sample)
		}
	}
	script = strings.NewReplacer(sampleURL, x.url, sampleID, e.GetEgressId()).Replace(script)
	c := x.command(t, t.TempDir(), "bash", "-euo", "pipefail", "-c", script)
	if _, err := exec.LookPath("lk"); err != nil {
		c.Env = append(c.Env, "PATH="+standIn(t)+":"+os.Getenv("PATH"), actAsLK+"=1")
	}
	out := output(t, c)
	for _, part := range []string{
		"DE_000000000001", "EGRESS_ACTIVE", `"Biology 2"`, "Stopping Egress DE_000000000001",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %s in:\n%s", part, out)
		}
	}
	list, err := x.service.List(t.Context(), project, api.Filter{})
	if err != nil || len(list) != 1 || list[0].GetEndedAt() == 0 {
		t.Errorf("after the stop: %v, %v", list, err)
	}
}
