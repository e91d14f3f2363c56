package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// followersCPU must not exceed a tenth of what recording the same messages may cost.
func followersCPU(n int) string {
	return fmt.Sprintf("CPU per 100k messages, dense room, %d followers (s)", n)
}

// followers measures what n readers of one recording add to the processor time per message: with
// readers less without, in this process, at the rate of the dense room. Each reader receives every
// line.
func followers(n int) runFunc {
	return func(ctx context.Context, w *world) ([]measured, error) {
		// The collector runs as often as in a service that records a room.
		defer debug.SetGCPercent(debug.SetGCPercent(50))
		live := make([]byte, 32<<20)
		defer runtime.KeepAlive(live)
		seconds := 15
		if w.o.Quick {
			seconds = 5
		}
		without, err := followed(ctx, 0, seconds)
		if err != nil {
			return nil, err
		}
		with, err := followed(ctx, n, seconds)
		if err != nil {
			return nil, err
		}
		return []measured{{followersCPU(n), (with - without).Seconds()}}, nil
	}
}

// followed returns the processor time per 100,000 messages that are appended and read by n readers.
func followed(ctx context.Context, n, seconds int) (_ time.Duration, err error) {
	dir, err := os.MkdirTemp("", "textegress-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sp, err := spool.Open(dir, spool.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sp.Close()) }()
	rec, err := sp.Create(spool.Info{SessionID: "followed"})
	if err != nil {
		return 0, err
	}
	out, err := rec.Writer()
	if err != nil {
		return 0, err
	}
	hub := follow.New(follow.Options{Spool: sp})
	defer hub.Close() //nolint:errcheck // nothing remains
	const every = 10 * time.Millisecond
	each := int(float64(dense.senders) * dense.rate * every.Seconds())
	total := each * seconds * int(time.Second/every)
	errs := make([]error, n)
	var readers sync.WaitGroup
	for i := range n {
		r, err := hub.Follow(rec.ID(), 1)
		if err != nil {
			return 0, err
		}
		readers.Go(func() {
			for read := 0; read < total && errs[i] == nil; {
				var lines []follow.Line
				lines, errs[i] = r.Batch(ctx)
				read += len(lines)
			}
			errs[i] = errors.Join(errs[i], r.Close())
		})
	}
	payload, err := proto.Marshal(&livekit.DataPacket{
		ParticipantIdentity: "learner-1", ParticipantSid: "PA_1", Sequence: 1,
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Topic: new("log"), Payload: bytes.Repeat([]byte("text "), 40),
		}},
	})
	if err != nil {
		return 0, err
	}
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	pace := time.NewTicker(every)
	defer pace.Stop()
	for range total / each {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-pace.C:
		}
		for range each {
			if err := out.Append(segment.Frame{
				Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1,
				Payload: payload,
			}); err != nil {
				return 0, err
			}
		}
	}
	readers.Wait()
	after, err := ownCPU()
	return (after - before) * 100_000 / time.Duration(total), errors.Join(append(errs, err)...)
}

// ownCPU returns the processor time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
