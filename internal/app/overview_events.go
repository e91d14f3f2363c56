package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/timeline"
)

// Events implements [overview.Service]: from the data directory, or from the delivered events.jsonl
// if the local data was removed.
func (s *overviewService) Events(ctx context.Context, egressID string, from int64) (
	overview.Events, error,
) {
	rec, err := s.find(egressID)
	if err != nil {
		return nil, err
	}
	lines, err := s.lines(ctx, rec, from)
	if err != nil {
		return nil, err
	}
	if s.textAllowed(rec.Info().ProjectID) {
		return lines, nil
	}
	return withoutText{lines}, nil
}

// catchUp is how long the first reader of a recording waits, so that Ready counts the lines that
// there are already.
const catchUp = time.Second

// lines returns the lines of a recording with their text.
func (s *overviewService) lines(ctx context.Context, rec *spool.Recording, from int64) (
	overview.Events, error,
) {
	r, err := s.follows.Follow(rec.ID(), from)
	switch {
	case err == nil:
		wait, cancel := context.WithTimeout(ctx, catchUp)
		defer cancel()
		r.CatchUp(wait)
		return followed{r}, nil
	case errors.Is(err, follow.ErrUnknown):
		return nil, fmt.Errorf("recording: %w", overview.ErrNotFound)
	case errors.Is(err, follow.ErrGone):
		return s.deliveredLines(ctx, rec, from)
	}
	return nil, fmt.Errorf("%w: %w", overview.ErrNotNow, err)
}

// followed adapts a [follow.Reader].
type followed struct{ *follow.Reader }

// Next implements [overview.Events].
func (f followed) Next(ctx context.Context) (overview.Event, error) {
	l, err := f.Reader.Next(ctx)
	return overview.Event{
		N: l.N, JSON: l.JSON, Kind: string(l.Kind), Topic: l.Topic, Identity: l.Identity,
		UnixNS: l.UnixNS,
	}, err
}

// Text implements [overview.Events].
func (followed) Text() bool { return true }

// withoutText leaves out what participants sent.
type withoutText struct{ overview.Events }

// Next implements [overview.Events].
func (e withoutText) Next(ctx context.Context) (overview.Event, error) {
	ev, err := e.Events.Next(ctx)
	if err != nil {
		return ev, err
	}
	ev.JSON, err = overview.WithoutText(ev.JSON)
	return ev, err
}

// Text implements [overview.Events].
func (withoutText) Text() bool { return false }

// openDelivered opens a delivered object of a recording.
func (s *overviewService) openDelivered(ctx context.Context, rec *spool.Recording, key string) (
	io.ReadCloser, error,
) {
	up, ok, err := delivery.LoadUploaded(rec)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: the recording is not delivered yet", overview.ErrNotNow)
	}
	bucket, err := liveProjects{s.App}.Bucket(rec.Info().ProjectID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", overview.ErrNotNow, err)
	}
	r, err := bucket.Open(ctx, up.Prefix+key)
	switch {
	case objstore.IsNotFound(err):
		return nil, fmt.Errorf("%w: the store has it no more", overview.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("%w: the store: %s", overview.ErrNotNow,
			objstore.Redacted(err, "it refuses the object"))
	}
	return r, nil
}

// maxLine is the maximum length of a line of a delivered events.jsonl.
const maxLine = 64 << 20

func (s *overviewService) deliveredLines(ctx context.Context, rec *spool.Recording, from int64) (
	overview.Events, error,
) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r, err := s.openDelivered(ctx, rec, textegress.EventsName)
	if err != nil {
		cancel()
		return nil, err
	}
	return &delivered{
		r: r, lines: bufio.NewReaderSize(r, 64<<10), from: max(1, from), cancel: cancel,
		version: "delivered " + rec.ID(),
	}, nil
}

// delivered reads a delivered events.jsonl.
type delivered struct {
	r       io.ReadCloser
	lines   *bufio.Reader
	from    int64
	version string
	cancel  context.CancelFunc
}

// Next implements [overview.Events]. When its time is over, another call continues; when ctx is
// cancelled, the reader has left, and nothing more is read.
func (d *delivered) Next(ctx context.Context) (overview.Event, error) {
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			d.cancel()
		}
	})
	defer stop()
	for {
		if ctx.Err() != nil {
			return overview.Event{}, context.Cause(ctx)
		}
		line, err := readLine(d.lines)
		if len(line) == 0 {
			switch {
			case errors.Is(err, io.EOF):
				return overview.Event{}, io.EOF
			case err == nil:
				continue
			case ctx.Err() != nil:
				return overview.Event{}, context.Cause(ctx)
			}
			return overview.Event{}, fmt.Errorf("%w: the store: %s", overview.ErrNotNow,
				objstore.Redacted(err, "the object cannot be read"))
		}
		var l struct {
			N        int64  `json:"n"`
			Kind     string `json:"kind"`
			Topic    string `json:"topic"`
			Identity string `json:"identity"`
			UnixNS   int64  `json:"unix_ns"`
		}
		if json.Unmarshal(line, &l) != nil {
			return overview.Event{}, fmt.Errorf("%w: a line of %s is damaged", overview.ErrNotNow,
				textegress.EventsName)
		}
		if l.N >= d.from {
			return overview.Event{
				N: l.N, JSON: line, Kind: l.Kind, Topic: l.Topic, Identity: l.Identity,
				UnixNS: l.UnixNS,
			}, nil
		}
	}
}

// readLine returns a line without its line feed.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLine {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF // every line ends with a line feed
			line = nil
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

// Ready implements [overview.Events]: no line is waited for.
func (d *delivered) Ready() int64 { return math.MaxInt64 }

// Text implements [overview.Events].
func (d *delivered) Text() bool { return true }

// Version implements [overview.Events].
func (d *delivered) Version() string { return d.version }

// Close implements [overview.Events].
func (d *delivered) Close() error {
	d.cancel()
	return d.r.Close()
}

// Timeline implements [overview.Service].
func (s *overviewService) Timeline(ctx context.Context, egressID string) (timeline.Data, error) {
	rec, err := s.find(egressID)
	if err != nil {
		return timeline.Data{}, err
	}
	until := time.Time{}
	if rec.State() == spool.StateOpen {
		until = time.Now()
	}
	t := s.timelines.get(egressID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec != rec || t.complete && time.Since(t.read) > keepTimeline {
		t.reset("") // a removed participant must not stay in memory
		t.rec = rec
	}
	if err := s.collect(ctx, rec, t); err != nil {
		return timeline.Data{}, err
	}
	return t.collector.Data(until), nil
}

// The bounds of timelines.
const (
	maxTimelines    = 16
	timelineTimeout = 30 * time.Second
	// keepTimeline is the time after which a complete timeline is read again.
	keepTimeline = 5 * time.Minute
)

// collect adds the lines that were not there before.
func (s *overviewService) collect(ctx context.Context, rec *spool.Recording, t *timelineOf) error {
	if t.complete {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timelineTimeout)
	defer cancel()
	lines, err := s.lines(ctx, rec, t.next)
	if err != nil {
		return err
	}
	defer func() { _ = lines.Close() }()
	if v := lines.Version(); v != t.version {
		if t.next > 1 {
			_ = lines.Close()
			if lines, err = s.lines(ctx, rec, 1); err != nil {
				return err
			}
		}
		t.reset(v)
	}
	open := rec.State() == spool.StateOpen
	for !open || t.next <= lines.Ready() {
		ev, err := lines.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			t.complete, t.read = true, time.Now()
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", overview.ErrNotNow, err)
		}
		var m textegress.Message
		if err := json.Unmarshal(ev.JSON, &m); err != nil {
			return fmt.Errorf("%w: line %d is damaged", overview.ErrNotNow, ev.N)
		}
		t.collector.Add(&m)
		t.next = ev.N + 1
	}
	return nil
}

// timelineOf is the timeline of one recording up to a line.
type timelineOf struct {
	mu        sync.Mutex
	rec       *spool.Recording // removing a participant replaces it
	collector *timeline.Collector
	version   string
	next      int64 // number of the next line
	complete  bool
	read      time.Time // when it became complete
}

func (t *timelineOf) reset(version string) {
	t.collector, t.version, t.next = timeline.NewCollector(timeline.Limits{}), version, 1
	t.complete = false
}

// timelines keeps those that were asked for last, so that each line is read once for all viewers.
// The zero value is ready for use.
type timelines struct {
	mu    sync.Mutex
	of    map[string]*timelineOf // by egress id
	order []string               // least recently used first
}

// clear drops all timelines.
func (c *timelines) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of, c.order = nil, nil
}

func (c *timelines) get(egressID string) *timelineOf {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]*timelineOf{}
	}
	for i, id := range c.order {
		if id == egressID {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	c.order = append(c.order, egressID)
	if t := c.of[egressID]; t != nil {
		return t
	}
	if len(c.order) > maxTimelines {
		delete(c.of, c.order[0])
		c.order = c.order[1:]
	}
	t := &timelineOf{}
	t.reset("")
	c.of[egressID] = t
	return t
}
