package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/classroom"
)

// Memory is read when the time settle has passed after the last join; CPU time is then measured
// over the time quiet.
const (
	settle     = 30 * time.Second
	quiet      = 20 * time.Second
	quietQuick = 10 * time.Second
)

func (w *world) quiet() time.Duration {
	if w.o.Quick {
		return quietQuick
	}
	return quiet
}

// idle announces all rooms at once and measures their cost while they are idle. It forces no
// garbage collection.
func idle(n int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, n, func(c *fixture) ([]measured, error) {
			if err := backoff.Sleep(ctx, settle); err != nil {
				return nil, err
			}
			full, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			if name := w.o.profileTo(fmt.Sprintf("idle %d", n)); name != "" {
				err = profile(ctx, c.r, name, w.quiet().Seconds())
			} else {
				err = backoff.Sleep(ctx, w.quiet())
			}
			if err != nil {
				return nil, err
			}
			later, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			per := func(v float64) float64 { return v / float64(n) }
			return []measured{
				{joiningRooms(n), c.joined.Seconds()},
				{noRoomsMemory, c.empty.rss / (1 << 20)},
				{idleMemory(n), per(full.rss-c.empty.rss) / 1024},
				{idleHeap(n), per(full.heap-c.empty.heap) / 1024},
				{idleCPU(n), per(msPerSecond(full, later))},
			}, nil
		})
	}
}

// participants measures the cost of participants that send nothing, as live heap, because resident
// memory is too coarse.
func participants(rooms, present int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, rooms, func(c *fixture) ([]measured, error) {
			// A reading before the participants join excludes one-time allocations.
			before, err := c.r.LiveHeap(ctx)
			if err != nil {
				return nil, err
			}
			joining, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			l, err := w.servers.LiveKit.StartLoad(ctx,
				classroom.Load{Rooms: c.rooms(), Senders: present, Messages: 1, Topic: "log"})
			if err != nil {
				return nil, err
			}
			defer l.Close() //nolint:errcheck // it is killed, so an error has no meaning
			// LiveKit announces the participants within seconds
			if err := backoff.Sleep(ctx, 5*time.Second); err != nil {
				return nil, err
			}
			joined, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			after, err := c.r.LiveHeap(ctx)
			if err != nil {
				return nil, err
			}
			from, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			if err := backoff.Sleep(ctx, w.quiet()); err != nil {
				return nil, err
			}
			to, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			all := float64(rooms * present)
			return []measured{
				{participantHeap, float64(after-before) / all / 1024},
				{participantCPU, float64((joined.cpu - joining.cpu).Microseconds()) / 1000 / all},
				{idleCPUWith(present), msPerSecond(from, to) / float64(rooms)},
			}, nil
		})
	}
}
