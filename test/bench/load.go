package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
)

// traffic describes messages of 200 bytes sent into rooms.
type traffic struct {
	name           string // in figures
	rooms, senders int
	rate           float64 // messages a second of each sender; 0: as fast as possible
	messages       int     // of each sender, if rate is 0
	seconds        float64
	secondsQuick   float64
}

func (t traffic) plan(w *world, rooms []string) classroom.Load {
	p := classroom.Load{
		Rooms: rooms, Senders: t.senders, Rate: t.rate, Messages: t.messages,
		Seconds: t.seconds, Size: 200, Topic: "log",
	}
	if w.o.Quick && t.secondsQuick > 0 {
		p.Seconds = t.secondsQuick
	}
	if t.rate == 0 {
		p.DrainSeconds = 60
	}
	return p
}

// load measures the recorder's processor time, including fsync, from the time when the senders are
// in their rooms until the last message is recorded.
func load(t traffic) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, t.rooms, func(c *fixture) ([]measured, error) {
			var before, server reading
			plan := t.plan(w, c.rooms())
			res, senders, err := w.send(ctx, plan, func() (err error) {
				if name := w.o.profileTo(t.name); name != "" {
					//nolint:errcheck // then there is no profile
					go profile(ctx, c.r, name, max(plan.Seconds, 5))
				}
				if server, err = readProcess(w.servers.LiveKit.Process); err == nil {
					before, err = readRecorder(ctx, c.r)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			if t.rate == 0 {
				return t.burst(ctx, c, res, before)
			}
			if c.sent, err = allSent(res); err != nil {
				return nil, err
			}
			after, err := c.recorded(ctx, c.sent)
			if err != nil {
				return nil, err
			}
			serverAfter, err := readProcess(w.servers.LiveKit.Process)
			if err != nil {
				return nil, err
			}
			per := func(d time.Duration) float64 {
				return d.Seconds() / (float64(c.sent) / 100_000)
			}
			return []measured{
				{loadCPU(t.name), per(after.cpu - before.cpu)},
				{loadMemory(t.name), (after.rss - c.empty.rss) / float64(t.rooms) / 1024},
				{"LiveKit's " + loadCPU(t.name), per(serverAfter.cpu - server.cpu)},
				{"senders' " + loadCPU(t.name), per(senders)},
			}, nil
		})
	}
}

// recorded waits until n packets are recorded and returns the resource use then.
func (c *fixture) recorded(ctx context.Context, n int) (reading, error) {
	err := until(ctx, c.r, fmt.Sprintf("%d packets are recorded", n),
		func(m map[string]float64) bool { return m[packets] >= float64(n) })
	if err != nil {
		return reading{}, err
	}
	return readRecorder(ctx, c.r)
}

// burst counts only senders whose buffers were empty before they left: messages of the others may
// be lost or still in transit.
func (t traffic) burst(ctx context.Context, c *fixture, res classroom.LoadResult,
	before reading,
) ([]measured, error) {
	want := map[string]int{}
	for _, s := range res.Senders {
		if s.Drained && s.Error == "" {
			want[s.Identity] = s.Messages
			c.sent += s.Messages
		}
	}
	if c.sent == 0 {
		return nil, errors.New("no sender of the burst emptied its buffer")
	}
	after, err := c.recorded(ctx, c.sent)
	if err != nil {
		return nil, err
	}
	seconds := time.Duration(res.DrainedUnixNS - res.StartedUnixNS).Seconds()
	counted := c.sent
	if err := c.end(ctx); err != nil {
		return nil, err
	}
	// Excluded senders may have been recorded in part, so messages are counted by sender.
	got, err := c.bySender(ctx)
	if err != nil {
		return nil, err
	}
	for id, n := range want {
		if got[id] != n {
			return nil, fmt.Errorf("sender %s sent %d messages and its buffer was empty, %d "+
				"are delivered", id, n, got[id])
		}
	}
	c.sent = 0
	for _, n := range got {
		c.sent += n
	}
	return []measured{
		{loadCPU(t.name), (after.cpu - before.cpu).Seconds() / (float64(counted) / 100_000)},
		{burstRate, float64(counted) / seconds},
		{burstDrained, float64(len(want)) / float64(len(res.Senders)) * 100},
	}, nil
}

// bySender counts the delivered messages of the only session.
func (c *fixture) bySender(ctx context.Context) (map[string]int, error) {
	d, err := c.servers.AwaitDelivered(ctx, c.r, c.project(), c.sessions[0].ID, 1)
	if err != nil {
		return nil, err
	}
	got := map[string]int{}
	for m, err := range d[0].Messages() {
		if err != nil {
			return nil, err
		}
		if m.Kind == textegress.KindData {
			got[m.Identity]++
		}
	}
	return got, nil
}

// file sends one file as a byte stream, as fast as possible, and checks that the delivered file is
// the same.
func file(bytes int64) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, 1, func(c *fixture) ([]measured, error) {
			var before reading
			res, _, err := w.send(ctx, classroom.Load{
				Rooms: c.rooms(), Senders: 1,
				FileBytes: bytes, Topic: "files",
			}, func() (err error) {
				if name := w.o.profileTo("file"); name != "" {
					go profile(ctx, c.r, name, 10) //nolint:errcheck // then there is none
				}
				before, err = readRecorder(ctx, c.r)
				return err
			})
			if err == nil {
				c.sent, err = allSent(res)
			}
			if err != nil {
				return nil, err
			}
			// Header, chunks and trailer.
			recorded, err := c.recorded(ctx, int((bytes+14_999)/15_000)+2)
			if err != nil {
				return nil, err
			}
			ended := time.Now()
			if err := c.end(ctx); err != nil {
				return nil, err
			}
			if err := c.checkDelivered(ctx); err != nil {
				return nil, err
			}
			delivered := time.Since(ended)
			after, err := readRecorder(ctx, c.r)
			if err != nil {
				return nil, err
			}
			if err := c.sameFile(res.Senders[0]); err != nil {
				return nil, err
			}
			return []measured{
				{fileCPU, (recorded.cpu - before.cpu).Seconds()},
				{fileExportCPU, (after.cpu - recorded.cpu).Seconds()},
				{filePeak, after.peak / (1 << 20)},
				{fileDelivery, delivered.Seconds()},
			}, nil
		})
	}
}

func (c *fixture) sameFile(s classroom.SenderLoad) error {
	all, err := c.delivered()
	if err != nil {
		return err
	}
	d := all[c.sessions[0].ID]
	for _, o := range d.Manifest().Objects {
		if !strings.HasPrefix(o.Key, textegress.FilesDir) {
			continue
		}
		// The check reads the file itself, not the manifest.
		f, err := os.Open(filepath.Join(d.Dir, filepath.FromSlash(o.Key)))
		if err != nil {
			return err
		}
		defer f.Close()
		sum := classroom.NewSum()
		n, err := io.Copy(sum, f)
		if err != nil {
			return err
		}
		if n != s.Bytes || sum.Hex() != s.SHA256 {
			return fmt.Errorf("the delivered file of %d bytes differs from the file of %d bytes "+
				"that was sent", n, s.Bytes)
		}
		return nil
	}
	return errors.New("the file that was sent is not in the recording")
}
