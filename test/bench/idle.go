package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/syncflow/textegress/test/classroom"
)

// settle is how long after the last join memory is looked at, and quiet how long processor time is
// then counted.
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

// idle joins rooms all at once and looks at what they cost when nothing happens in them. Nothing
// forces a collection of garbage.
func idle(n int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, n, func(c *campus) ([]measured, error) {
			if err := pause(ctx, settle); err != nil {
				return nil, err
			}
			full, err := look(ctx, c.r)
			if err != nil {
				return nil, err
			}
			if name := w.o.profileTo(fmt.Sprintf("idle %d", n)); name != "" {
				err = profile(ctx, c.r, name, w.quiet().Seconds())
			} else {
				err = pause(ctx, w.quiet())
			}
			if err != nil {
				return nil, err
			}
			later, err := look(ctx, c.r)
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

// participants measures what those who are present cost, in rooms in which nobody says anything:
// live heap, for resident memory is too coarse for it.
func participants(rooms, present int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, rooms, func(c *campus) ([]measured, error) {
			// What is made at the first use, by whom it may be, is not a participant's.
			before, err := c.r.LiveHeap(ctx)
			if err != nil {
				return nil, err
			}
			joining, err := look(ctx, c.r)
			if err != nil {
				return nil, err
			}
			l, err := w.servers.LiveKit.StartLoad(ctx,
				classroom.Load{Rooms: c.rooms(), Senders: present, Messages: 1, Topic: "log"})
			if err != nil {
				return nil, err
			}
			defer l.Close() //nolint:errcheck // it is killed: it has nothing to say
			// LiveKit tells of them in the seconds after
			if err := pause(ctx, 5*time.Second); err != nil {
				return nil, err
			}
			joined, err := look(ctx, c.r)
			if err != nil {
				return nil, err
			}
			after, err := c.r.LiveHeap(ctx)
			if err != nil {
				return nil, err
			}
			from, err := look(ctx, c.r)
			if err != nil {
				return nil, err
			}
			if err := pause(ctx, w.quiet()); err != nil {
				return nil, err
			}
			to, err := look(ctx, c.r)
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
