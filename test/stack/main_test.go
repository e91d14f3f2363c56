package stack

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// shared is the stack that the tests have in common. A test that harms a server starts its own.
var shared *Stack

func TestMain(m *testing.M) {
	if os.Getenv("STACK_TEST_PARENT") != "" { // see TestChildrenDieWithParent: needs no servers
		m.Run()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s, err := Start(ctx, Options{
		Projects: 2, TLS: true,
		LiveKit: LiveKitOptions{DepartureTimeout: 2 * time.Second},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = s
	m.Run()
	if err := s.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
