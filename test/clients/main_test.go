package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/test/stack"
)

var update = flag.Bool("update", false, "write docs/CLIENTS.md from what was found")

var servers *stack.Stack

func TestMain(m *testing.M) {
	flag.Parse()
	lksdk.SetLogger(logger.GetDiscardLogger())
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		var err error
		if servers, err = stack.Start(ctx,
			stack.Options{Projects: 2, SyncFlow: stack.Crowd}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer servers.Stop(context.Background())
		return m.Run()
	}())
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

// absent skips a test for what is missing. In continuous integration it must be there.
func absent(t *testing.T, why error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%v\nCI is set, so this must run", why)
	}
	t.Skip(why)
}
