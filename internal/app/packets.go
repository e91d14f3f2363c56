package app

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// packetCounts counts the packets of recordings that are sealed but not rendered, for example while
// the store cannot be reached. A count reads all segments and is cached, because clients poll it.
// The zero value is ready for use.
type packetCounts struct {
	mu sync.Mutex
	of map[string]packetCount // by egress id
}

type packetCount struct {
	segments []segment.Info // the counted segments; a purge changes them
	packets  int64
}

// count returns the readable packets of a sealed recording.
func (c *packetCounts) count(ctx context.Context, rec *spool.Recording) (int64, error) {
	sealed, _ := rec.Sealed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.of[rec.ID()]; ok && slices.Equal(known.segments, sealed.Segments) {
		return known.packets, nil
	}
	sources, err := rec.SealedSources(ctx)
	if err != nil {
		return 0, fmt.Errorf("count packets: %w", err)
	}
	n := int64(0)
	for f, err := range segment.Read(sources) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, fmt.Errorf("count packets of recording %s: %w", rec.ID(), err)
		}
		if f.Type == segment.FramePacket {
			n++
		}
	}
	if c.of == nil {
		c.of = map[string]packetCount{}
	}
	c.of[rec.ID()] = packetCount{sealed.Segments, n}
	return n, nil
}

// forget drops the count of a recording that has a manifest.
func (c *packetCounts) forget(egressID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, egressID)
}
