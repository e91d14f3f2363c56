package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// polling measures a recorder of LiveKit alone that finds rooms by polling only: the cost of a list
// of many rooms that are not recorded, and the time until rooms created at once are joined.
func polling(many, atOnce int) runFunc {
	return func(ctx context.Context, w *world) ([]measured, error) {
		s, err := stack.Start(ctx, stack.Options{
			Dir: filepath.Join(w.o.Dir, w.name("livekit")), NoSyncFlow: true, NoS3: true,
			Gate: true, // counts the requests
			LiveKit: stack.LiveKitOptions{
				LogLevel: "error", EmptyTimeout: 6 * time.Hour, DepartureTimeout: 6 * time.Hour,
			},
		})
		if err != nil {
			return nil, err
		}
		defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its directory is removed
		r, err := s.StartRecorder(ctx, filepath.Join(w.o.Dir, w.name("recorder")),
			"LOG_FORMAT=json", "RECORD_ROOMS=class-*",
			// Now and then LiveKit deletes a room without telling a participant; the recorder then
			// waits for the room to come back.
			"REJOIN_WINDOW=5s")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(r.Dir)
		defer r.Kill() //nolint:errcheck // an error has been reported before

		figures := []measured{}
		for _, rooms := range []int{0, many} {
			if err := createRooms(ctx, s.LiveKit, "other", rooms); err != nil {
				return nil, err
			}
			cost, err := w.pollingCost(ctx, s, r, rooms)
			if err != nil {
				return nil, err
			}
			figures = append(figures, cost...)
		}
		began := time.Now()
		if err := createRooms(ctx, s.LiveKit, "class", atOnce); err != nil {
			return nil, err
		}
		created := time.Now()
		if err := until(ctx, r, fmt.Sprintf("%d rooms are joined", atOnce),
			func(m map[string]float64) bool { return m[joinsOK] >= float64(atOnce) }); err != nil {
			return nil, err
		}
		joined := time.Now()
		if err := each(atOnce, func(i int) error {
			return s.LiveKit.DeleteRoom(ctx, fmt.Sprintf("class-%d", i))
		}); err != nil {
			return nil, err
		}
		if err := until(ctx, r, "everything is delivered", func(m map[string]float64) bool {
			return m[uploadsOK] >= float64(atOnce)
		}); err != nil {
			return nil, err
		}
		if d, err := r.DeliveredLocally(""); err != nil || len(d) != atOnce {
			return nil, fmt.Errorf("%d recordings of %d rooms were delivered (%w)", len(d), atOnce, err)
		}
		return append(figures,
			measured{createdRooms(atOnce), created.Sub(began).Seconds()},
			measured{polledRooms(atOnce), joined.Sub(began).Seconds()}), r.Stop(ctx)
	}
}

// pollingCost measures the processor time per request for the list of rooms.
func (w *world) pollingCost(ctx context.Context, s *stack.Stack, r *stack.Recorder,
	rooms int,
) ([]measured, error) {
	read := func() (recorder, server reading, lists int, err error) {
		if recorder, err = readRecorder(ctx, r); err == nil {
			server, err = readProcess(s.LiveKit.Process)
		}
		return recorder, server, s.Gate.Lists(), err
	}
	recorder, server, lists, err := read()
	if err != nil {
		return nil, err
	}
	if name := w.o.profileTo(fmt.Sprintf("polling %d", rooms)); name != "" {
		err = profile(ctx, r, name, w.quiet().Seconds())
	} else {
		err = backoff.Sleep(ctx, w.quiet())
	}
	if err != nil {
		return nil, err
	}
	recorderAfter, serverAfter, listsAfter, err := read()
	if err != nil {
		return nil, err
	}
	if listsAfter == lists {
		return nil, fmt.Errorf("the server was not asked for its rooms within %v", w.quiet())
	}
	per := func(from, to reading) float64 {
		return ms(to.cpu-from.cpu) / float64(listsAfter-lists)
	}
	return []measured{
		{pollCPU(rooms), per(recorder, recorderAfter)},
		{"LiveKit's " + pollCPU(rooms), per(server, serverAfter)},
	}, nil
}

// createRooms creates n rooms that nobody joins.
func createRooms(ctx context.Context, l *stack.LiveKit, name string, n int) error {
	service := l.RoomService()
	return each(n, func(i int) error {
		_, err := service.CreateRoom(ctx, &livekit.CreateRoomRequest{
			Name: fmt.Sprintf("%s-%d", name, i),
		})
		return err
	})
}
