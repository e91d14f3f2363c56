package livekittest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/test/stack"
)

// TestSingleNode: a single server keeps its rooms in memory, nodes with Redis do not.
func TestSingleNode(t *testing.T) {
	if single, err := key().SingleNode(t.Context(), servers.LiveKit.URL); !single || err != nil {
		t.Errorf("a single server: %v, %v", single, err)
	}
	nodes, err := stack.Start(t.Context(), stack.Options{NoSyncFlow: true, NoS3: true, Nodes: 2})
	if errors.Is(err, stack.ErrNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nodes.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, n := range nodes.Nodes {
		k := livekit.Key{ID: n.APIKey, Secret: n.APISecret}
		if single, err := k.SingleNode(t.Context(), n.URL); single || err != nil {
			t.Errorf("a node: %v, %v", single, err)
		}
	}
}
