package apidoc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/dataegress"
)

// curl runs the example with curl, openssl and jq, and returns the two lines and the statement that
// it prints.
func (x *target) curl() (lines []string, s map[string]any) {
	x.t.Helper()
	out := output(x.t, x.command(x.t.TempDir(), "bash", "-euo", "pipefail", "-c",
		read(x.t, filepath.Join("examples", "record.sh"))))
	lines = strings.SplitN(out, "\n", 3)
	if len(lines) < 3 {
		x.t.Fatalf("the example printed:\n%s", out)
	}
	if err := json.Unmarshal([]byte(lines[2]), &s); err != nil {
		x.t.Fatalf("the example printed:\n%s\n%v", out, err)
	}
	return lines[:2], s
}

// TestCurl: the example with curl, openssl and jq. The statement that it prints is that of a
// recording that has just been stopped.
func TestCurl(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "jq")
	x := newTarget(t)
	x.speakBefore("ListDataEgress", topic)
	lines, s := x.curl()
	id, _ := s["egress_id"].(string)
	if diff := cmp.Diff([]string{id + " EGRESS_ACTIVE", "EGRESS_ENDING"}, lines); diff != "" {
		t.Error(diff)
	}
	if s["final"] == false && s["reason"] != "" && s["reason"] != "stopped" {
		t.Errorf("the statement before the delivery: %v", s)
	}
	x.complete(id, textegress.TailLeft, topic)
}

// TestCurl_AtOnce: a stop also works before the recorder has joined the room.
func TestCurl_AtOnce(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "jq")
	x := newTarget(t)
	lines, s := x.curl()
	id, _ := s["egress_id"].(string)
	if !strings.HasPrefix(lines[0], id+" EGRESS_") || lines[1] != "EGRESS_ENDING" {
		t.Errorf("%q", lines)
	}
	e := must(x.client.Wait(testContext(t), id))(t)
	last := must(x.client.Statement(testContext(t), id))(t)
	if !last.GetFinal() || last.GetReason() != "stopped" || last.GetPackets() != 0 ||
		last.GetStatus() != e.GetStatus() || e.GetManifestLocation() != manifest(id) {
		t.Errorf("%v\n%v", e, last)
	}
	if e.GetStatus() != livekit.EgressStatus_EGRESS_COMPLETE {
		t.Errorf("the recording is %s", e.GetStatus())
	}
}

// TestGo: the example of the Go client.
func TestGo(t *testing.T) {
	x := newTarget(t)
	program := filepath.Join(t.TempDir(), "goclient")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/goclient")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c := x.command(t.TempDir(), program)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout := must(c.StdoutPipe())(t)
	check(t, c.Start())
	var lines []string
	for scan := bufio.NewScanner(stdout); scan.Scan(); {
		lines = append(lines, scan.Text())
		if len(lines) == 1 { // it records until it is interrupted
			if err := x.speak(topic); err != nil {
				t.Error(err)
			}
			if err := c.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	id := strings.TrimPrefix(lines[0], "recording ")
	e := must(x.client.Wait(testContext(t), id))(t)
	if diff := cmp.Diff([]string{
		"recording " + id, "EGRESS_COMPLETE " + manifest(id),
	}, lines[:min(len(lines), 2)]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(e.GetDetails(), strings.Join(lines[2:], "\n")); diff != "" {
		t.Error(diff)
	}
	x.complete(id, textegress.TailLeft, topic)
}

// TestJavaScript: the example with LiveKit's SDK for Node.js.
func TestJavaScript(t *testing.T) {
	needs(t, "node", "npm")
	x := newTarget(t)
	x.speakBefore("ListEgress", "other", topic)
	install := exec.CommandContext(t.Context(), "scripts/npm.sh", "server")
	install.Dir = root(t)
	if b, err := install.CombinedOutput(); err != nil {
		t.Fatalf("scripts/npm.sh server: %v\n%s", err, b)
	}
	// Node looks for packages beside the program.
	dir := filepath.Join(root(t), "build", "npm", "server")
	program := filepath.Join(dir, "record.mjs")
	check(t, os.WriteFile(program, []byte(read(t, filepath.Join("examples", "record.mjs"))), 0o644))
	out := output(t, x.command(dir, "node", program))
	id, _, _ := strings.Cut(out, " ")
	want := id + " Biology 2 EGRESS_ACTIVE\nEGRESS_COMPLETE " + manifest(id) + "\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	x.complete(id, textegress.TailLeft, "other", topic)
	// The request is repeated after the end: it was carried out already.
	again := must(x.client.Start(testContext(t), &dataegress.StartDataEgressRequest{
		RoomName: room, RequestId: "biology-2026-11-30",
	}))(t)
	if again.GetEgressId() != id {
		t.Errorf("the repeated request started %s", again.GetEgressId())
	}
}

// TestLK: the example with `lk` if it is installed, otherwise with its calls, see lk_test.go.
func TestLK(t *testing.T) {
	needs(t, "bash")
	x := newTarget(t)
	id := x.start()
	const sampleURL, sampleID = "http://127.0.0.1:9464", "DE_x7Kq2LmPz0aB"
	script := read(t, filepath.Join("examples", "lk.sh"))
	for _, sample := range []string{sampleURL, sampleID} {
		if strings.Count(script, sample) != 1 {
			t.Errorf("%s is not once in examples/lk.sh", sample)
		}
	}
	script = strings.NewReplacer(sampleURL, x.url, sampleID, id).Replace(script)
	c := x.command(t.TempDir(), "bash", "-euo", "pipefail", "-c", script)
	if _, err := exec.LookPath("lk"); err != nil {
		c.Env = append(c.Env, "PATH="+standIn(t)+":"+os.Getenv("PATH"), actAsLK+"=1")
	}
	out := output(t, c)
	for _, part := range []string{id, "EGRESS_ACTIVE", `"Biology 2"`, "Stopping Egress " + id} {
		if !strings.Contains(out, part) {
			t.Errorf("no %s in:\n%s", part, out)
		}
	}
	x.complete(id, textegress.TailLeft, "other", topic)
}

// start starts a recording of all topics, sends messages, and returns the egress id.
func (x *target) start() string {
	x.t.Helper()
	e := must(x.client.Start(testContext(x.t), &dataegress.StartDataEgressRequest{
		RoomName: room,
	}))(x.t)
	check(x.t, x.speak("other", topic))
	return e.GetEgressId()
}
