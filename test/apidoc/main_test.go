package apidoc

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/api/apitest"
	lk "github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/test/stack"
)

const (
	project = "livekit"
	room    = "Biology 2" // of the examples
)

var key = lk.Key{ID: "APIdoc", Secret: "a secret of LiveKit"}

// TestMain lets the test binary stand for `lk`, see lk_test.go.
func TestMain(m *testing.M) {
	if os.Getenv(actAsLK) != "" {
		os.Exit(lkMain(context.Background(), os.Args[1:]))
	}
	m.Run()
}

// target is a textegress whose project has the room of the examples. What is stopped is delivered.
type target struct {
	service *apitest.Service
	url     string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	x := &target{service: apitest.New()}
	x.service.OpenRoom(project, room)
	x.service.DeliverStopped()
	srv := httptest.NewServer(api.New(api.Options{
		Service:  x.service,
		Projects: func() []api.Project { return []api.Project{{ID: project, Key: key}} },
		Logger:   slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(srv.Close)
	x.url = srv.URL
	return x
}

// command returns a command with the settings that the examples read.
func (x *target) command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TEXTEGRESS_URL="+x.url, "LIVEKIT_API_KEY="+key.ID,
		"LIVEKIT_API_SECRET="+key.Secret)
	return c
}

// output runs a command and returns what it printed.
func output(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", c.Args, err, out, stderr.String())
	}
	return string(out)
}

// needs skips a test for missing programs. In continuous integration they must be there.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and CI is set, so this must run", name)
		}
		t.Skipf("%s is missing; scripts/setup.sh test installs it", name)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDocument: docs/API.md shows the examples that the tests run, and no other code.
func TestDocument(t *testing.T) {
	blocks := map[string]bool{}
	document := read(t, filepath.Join(root(t), "docs", "API.md"))
	for i, part := range strings.Split("\n"+document, "\n```") {
		if i%2 == 1 {
			_, code, _ := strings.Cut(part, "\n")
			blocks[code+"\n"] = true
		}
	}
	examples := []string{"record.sh", "lk.sh", "goclient/main.go", "record.mjs"}
	for _, name := range examples {
		code := read(t, filepath.Join("examples", name))
		if !blocks[code] {
			t.Errorf("docs/API.md does not show test/apidoc/examples/%s as it is", name)
		}
		delete(blocks, code)
	}
	for code := range blocks {
		t.Errorf("docs/API.md shows code that no test runs:\n%s", code)
	}
}
