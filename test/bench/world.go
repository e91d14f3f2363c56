package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// world holds the servers and what the cases share.
type world struct {
	o       Options
	rep     *Report
	servers *stack.Stack
	n       int // recorders, peers and rooms so far, for names
}

func newWorld(ctx context.Context, o Options) (*world, error) {
	dir, err := filepath.Abs(filepath.Join(o.Dir, time.Now().Format("20060102-150405")))
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	s, err := stack.Start(ctx, stack.Options{
		Dir: filepath.Join(dir, "servers"), SyncFlow: stack.Crowd,
		LiveKit: stack.LiveKitOptions{
			LogLevel: "error", EmptyTimeout: 6 * time.Hour, DepartureTimeout: 6 * time.Hour,
			// A benchmark has more rooms than a stack's own range has ports. No other servers run
			// beside a benchmark.
			UDPRange: [2]int{50000, 59999},
		},
	})
	if err != nil {
		return nil, err
	}
	w := &world{o: o, servers: s}
	// A listener of the API costs more than a room of the recorder and would distort the figures.
	if err := s.SyncFlow.Control(ctx, stack.Settings{NoListener: true}); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

func (w *world) stop() {
	_ = w.servers.Stop(context.Background())
	_ = os.RemoveAll(w.o.Dir)
}

func (w *world) project() stack.Project { return w.servers.SyncFlow.Projects[0] }

// name returns a unique name.
func (w *world) name(of string) string {
	w.n++
	return fmt.Sprintf("%s-%d", of, w.n)
}

// recorder starts the real binary in a directory of its own.
func (w *world) recorder(ctx context.Context, extra ...string) (*stack.Recorder, error) {
	return w.servers.StartRecorder(ctx, filepath.Join(w.o.Dir, w.name("recorder")),
		append([]string{"LOG_FORMAT=json"}, extra...)...)
}

// sessions creates n started sessions without announcing them.
func (w *world) sessions(ctx context.Context, n int) ([]stack.Session, error) {
	all := make([]stack.Session, n)
	names := make([]string, n)
	for i := range names {
		names[i] = w.name("bench")
	}
	return all, each(n, func(i int) (err error) {
		all[i], err = w.servers.SyncFlow.CreateSession(ctx, w.project(), names[i])
		return err
	})
}

// announce publishes the announcements of sessions at once.
func (w *world) announce(ctx context.Context, sessions ...stack.Session) error {
	var bodies [][]byte
	for _, s := range sessions {
		bodies = append(bodies, stack.Announcement(s.ID, s.LivekitRoomName))
	}
	return w.servers.SyncFlow.Announce(ctx, w.project(), stack.DeviceGroup, bodies...)
}

// remove deletes sessions and empties the bucket, so that earlier cases do not affect the next one.
func (w *world) remove(ctx context.Context, sessions []stack.Session) error {
	err := each(len(sessions), func(i int) error {
		return w.servers.SyncFlow.DeleteSession(ctx,
			w.project(), sessions[i].ID)
	})
	if err != nil {
		return err
	}
	bucket := w.servers.S3.BucketDir(w.project().Bucket)
	list, err := os.ReadDir(bucket)
	for _, d := range list {
		if d.Name()[0] != '.' { // the server's own files
			err = errors.Join(err, os.RemoveAll(filepath.Join(bucket, d.Name())))
		}
	}
	return err
}

// each calls f(0), f(1), …, f(n-1), sixteen at a time.
func each(n int, f func(int) error) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	errs := make([]error, n)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() { errs[i] = f(i); <-slots })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fixture is a recorder in the rooms of several sessions.
type fixture struct {
	*world
	r        *stack.Recorder
	sessions []stack.Session
	empty    reading       // before the first room
	joined   time.Duration // from the first announcement until all rooms were open
	sent     int           // messages to be delivered
	ended    bool          // the sessions have ended
	removed  bool          // the sessions are removed
	others   int           // delivered sessions that are no longer in sessions
}

// withRooms starts a recorder, announces n sessions at once, and runs f when the recorder has
// joined them all. It then ends the sessions, and fails unless everything that f sent
// (fixture.sent) is delivered.
func (w *world) withRooms(ctx context.Context, n int,
	f func(*fixture) ([]measured, error),
) ([]measured, error) {
	sessions, err := w.sessions(ctx, n)
	if err != nil {
		return nil, err
	}
	r, err := w.recorder(ctx)
	if err != nil {
		return nil, err
	}
	c := &fixture{world: w, r: r, sessions: sessions}
	defer os.RemoveAll(r.Dir)
	defer func() {
		if c.removed {
			return
		}
		// A failed case must not affect the next ones.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_ = w.remove(ctx, c.sessions)
	}()
	defer r.Kill() //nolint:errcheck // an error has been reported before
	if c.empty, err = readRecorder(ctx, r); err != nil {
		return nil, err
	}
	began := time.Now()
	if n > 0 {
		if err := w.announce(ctx, sessions...); err != nil {
			return nil, err
		}
		if err := until(ctx, r, fmt.Sprintf("%d rooms are joined", n),
			func(m map[string]float64) bool { return m[joinsOK] >= float64(n) }); err != nil {
			return nil, err
		}
	}
	c.joined = time.Since(began)
	figures, err := f(c)
	if err != nil {
		return nil, err
	}
	if err := c.end(ctx); err != nil {
		return nil, err
	}
	if err := c.checkDelivered(ctx); err != nil {
		return nil, err
	}
	if err := r.Stop(ctx); err != nil {
		return nil, err
	}
	c.removed = true
	return figures, w.remove(ctx, c.sessions)
}

// rooms returns the names of the rooms.
func (c *fixture) rooms() []string {
	var list []string
	for _, s := range c.sessions {
		list = append(list, s.LivekitRoomName)
	}
	return list
}

// end stops the sessions through the API, which deletes their rooms. The second call does nothing.
func (c *fixture) end(ctx context.Context) error {
	if c.ended {
		return nil
	}
	c.ended = true
	return each(len(c.sessions), func(i int) error {
		_, err := c.servers.SyncFlow.StopSession(ctx, c.project(), c.sessions[i].ID)
		return err
	})
}

// checkDelivered waits until the sessions are delivered and checks that no message is missing.
func (c *fixture) checkDelivered(ctx context.Context) error {
	err := until(ctx, c.r, "everything is delivered", func(m map[string]float64) bool {
		return m[uploadsOK] >= float64(len(c.sessions)+c.others)
	})
	if err != nil {
		return err
	}
	all, err := c.delivered()
	if err != nil {
		return err
	}
	got := int64(0)
	for _, s := range c.sessions {
		d, ok := all[s.ID]
		if !ok {
			return fmt.Errorf("session %s is not in the bucket", s.ID)
		}
		got += d.Manifest().Counts.Messages
	}
	if got != int64(c.sent) {
		return fmt.Errorf("%d messages were sent, %d delivered", c.sent, got)
	}
	return nil
}

// delivered opens all recordings in the bucket, by session.
func (w *world) delivered() (map[string]stack.Delivered, error) {
	root := w.servers.S3.BucketDir(w.project().Bucket)
	all := map[string]stack.Delivered{}
	return all, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != textegress.ManifestName {
			return err
		}
		rec, err := textegress.Open(os.DirFS(filepath.Dir(path)))
		if err == nil {
			all[rec.Manifest().Session.ID] = stack.Delivered{
				Recording: rec,
				Dir:       filepath.Dir(path),
			}
		}
		return err
	})
}

// send runs a plan in a load generator, and also returns its CPU time. begin is called when all
// senders have joined, before they send.
func (w *world) send(ctx context.Context, plan classroom.Load,
	begin func() error,
) (res classroom.LoadResult, cpu time.Duration, err error) {
	l, err := w.servers.LiveKit.StartLoad(ctx, plan)
	if err != nil {
		return res, 0, err
	}
	defer l.Close() //nolint:errcheck // its files are in a temporary directory
	if err := begin(); err != nil {
		return res, 0, err
	}
	before, err := l.CPUTime()
	if err != nil {
		return res, 0, err
	}
	if err := l.Go(); err != nil {
		return res, 0, err
	}
	if res, err = l.Wait(ctx); err != nil {
		return res, 0, err
	}
	after, err := l.CPUTime()
	return res, after - before, err
}

// allSent returns the number of messages sent, or an error if a sender failed.
func allSent(res classroom.LoadResult) (int, error) {
	sent := 0
	for _, s := range res.Senders {
		if s.Error != "" {
			return 0, fmt.Errorf("the load was not sent: %s", s.Error)
		}
		sent += s.Messages
	}
	return sent, nil
}
