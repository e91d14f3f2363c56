package apidoc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/test/stack"
)

// servers are LiveKit and a bucket. Each test has a recorder of its own.
var servers *stack.Stack

// TestMain starts the servers. It also lets the test binary stand for `lk`, see lk_test.go.
func TestMain(m *testing.M) {
	if os.Getenv(actAsLK) != "" {
		os.Exit(lkMain(context.Background(), os.Args[1:]))
	}
	lksdk.SetLogger(logger.GetDiscardLogger())
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		var err error
		servers, err = stack.Start(ctx, stack.Options{NoSyncFlow: true, Proxies: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer servers.Stop(context.Background())
		return m.Run()
	}())
}

// testContext bounds one test, so that a wait that never ends is reported with its name.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
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
	return must(stack.Root())(t)
}

func read(t *testing.T, path string) string {
	t.Helper()
	return string(must(os.ReadFile(path))(t))
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
