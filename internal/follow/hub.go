package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Projects are the keys of projects. delivery.Projects has the same methods.
type Projects interface {
	Keys(projectID string) *render.Keys
	Pseudonyms(info spool.Info) (redact.Pseudonyms, error)
}

// Decode returns a function for [Options], which decodes recordings with the keys of p.
func Decode(p Projects) func(*spool.Recording) (Decoding, error) {
	return func(rec *spool.Recording) (Decoding, error) {
		info := rec.Info()
		d := Decoding{Keys: p.Keys(info.ProjectID)}
		d.KeyName = d.Keys.Name()
		if !info.Pseudonyms {
			return d, nil
		}
		var err error
		if d.Pseudonyms, err = p.Pseudonyms(info); err != nil {
			return Decoding{}, err
		}
		if k, ok := d.Pseudonyms.(interface{ KeyName() string }); ok {
			d.KeyName += "+" + k.KeyName()
		}
		return d, nil
	}
}

// Hub lets readers follow the recordings of a spool. Only durable frames are decoded. Its methods
// are safe for concurrent use.
type Hub struct {
	o   Options
	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// scratchMu is held while a scratch file is created, because its name is in use until then.
	scratchMu sync.Mutex

	mu     sync.Mutex // guards the fields below and feed.readers
	feeds  map[string]*feed
	closed bool
}

// New returns a hub. It starts nothing.
func New(o Options) *Hub {
	h := &Hub{o: o, log: o.Logger, feeds: map[string]*feed{}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends all readers and waits for the decoders.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
	return nil
}

// Follow returns a reader of the lines from number from on; 0 means 1. The error wraps [ErrUnknown]
// or [ErrGone], or says that the disk is too full to follow.
func (h *Hub) Follow(egressID string, from int64) (*Reader, error) {
	f, err := h.acquire(egressID)
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", egressID, err)
	}
	return &Reader{
		hub: h, egressID: egressID, feed: f, version: f.version, next: max(from, 1),
		closed: make(chan struct{}),
	}, nil
}

// acquire returns the feed of a recording, with one more reader.
func (h *Hub) acquire(egressID string) (*feed, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	rec, ok := h.o.Spool.Recording(egressID)
	if !ok {
		h.mu.Unlock()
		return nil, ErrUnknown
	}
	if rec.State() == spool.StateRemoved {
		h.mu.Unlock()
		return nil, ErrGone
	}
	f := h.feeds[egressID]
	if f == nil || f.rec != rec {
		f = newFeed(h, rec)
		h.feeds[egressID] = f
	}
	f.readers++
	h.mu.Unlock()
	f.poke()
	if err := f.start(); err != nil {
		h.mu.Lock()
		f.readers--
		h.forget(f)
		h.mu.Unlock()
		return nil, err
	}
	return f, nil
}

// release removes a reader of a feed.
func (h *Hub) release(f *feed) {
	h.mu.Lock()
	f.readers--
	h.mu.Unlock()
	f.poke()
}

// forget removes a feed, so that the next reader gets another one. Called with mu held.
func (h *Hub) forget(f *feed) {
	if h.feeds[f.rec.ID()] == f {
		delete(h.feeds, f.rec.ID())
	}
}

// watched reports whether a feed has readers.
func (h *Hub) watched(f *feed) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f.readers > 0
}

// dropIdle forgets a feed unless it has readers.
func (h *Hub) dropIdle(f *feed) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.readers > 0 {
		return false
	}
	h.forget(f)
	return true
}

func (h *Hub) decoding(rec *spool.Recording) (Decoding, error) {
	if h.o.Decode == nil {
		return Decoding{}, nil
	}
	return h.o.Decode(rec)
}

// Reader reads the lines of one recording in order. Next and Batch are used by one goroutine; the
// other methods are safe for concurrent use.
type Reader struct {
	hub      *Hub
	egressID string
	version  string
	next     int64  // the number of the next line
	batch    []Line // the next lines
	from     *feed  // of batch
	once     sync.Once
	closed   chan struct{}

	mu   sync.Mutex // guards feed
	feed *feed      // nil: closed, or being replaced
}

// Next returns the next line, and waits for it if necessary. It returns io.EOF after the last line
// of a complete recording, and the cause of ctx if that ends first. An error that wraps
// [ErrChanged] means that numbering begins anew. After any other error a new reader may succeed.
func (r *Reader) Next(ctx context.Context) (Line, error) {
	if err := r.wait(ctx); err != nil {
		return Line{}, err
	}
	l := r.batch[0]
	r.batch = r.batch[1:]
	r.next = l.N + 1
	return l, nil
}

// Batch is Next for all lines that are at hand, at least one. It is cheaper than a call for each.
func (r *Reader) Batch(ctx context.Context) ([]Line, error) {
	if err := r.wait(ctx); err != nil {
		return nil, err
	}
	batch := r.batch
	r.batch = nil
	r.next = batch[len(batch)-1].N + 1
	return batch, nil
}

// wait returns when there is a line in r.batch.
func (r *Reader) wait(ctx context.Context) error {
	select {
	case <-r.closed:
		return ErrClosed
	default:
	}
	for len(r.batch) == 0 || r.from.rec.Replaced() {
		f := r.current()
		if f == nil {
			return ErrClosed
		}
		batch, changed, err := f.from(r.next)
		switch {
		case errors.Is(err, errReplaced):
			err = r.again()
		case errors.Is(err, io.EOF):
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", r.egressID, err)
		}
		if r.batch, r.from = batch, f; len(batch) > 0 || changed == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.closed:
			return ErrClosed
		case <-changed:
		}
	}
	return nil
}

func (r *Reader) current() *feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.feed
}

// again continues with the recording that has replaced this one: removing a participant leaves the
// numbers of all lines.
func (r *Reader) again() error {
	f, err := r.hub.acquire(r.egressID)
	if err != nil {
		return err
	}
	r.mu.Lock()
	old := r.feed
	if old == nil { // closed
		r.mu.Unlock()
		r.hub.release(f)
		return ErrClosed
	}
	r.feed = f
	r.mu.Unlock()
	r.hub.release(old)
	if f.version != r.version {
		return ErrChanged
	}
	return nil
}

// Ready returns the number of the last line that Next would return without waiting, 0 if there is
// none yet.
func (r *Reader) Ready() int64 {
	if f := r.current(); f != nil {
		return f.ready()
	}
	return 0
}

// CatchUp waits until the lines are ready that are durable now, or until ctx ends.
func (r *Reader) CatchUp(ctx context.Context) {
	f := r.current()
	if f == nil {
		return
	}
	select {
	case <-f.catchUp():
	case <-r.closed:
	case <-ctx.Done():
	}
}

// Version names the version of the lines and the keys. Numbers of lines are comparable only between
// readers with the same version.
func (r *Reader) Version() string { return r.version }

// Close ends the reader. Next then returns [ErrClosed].
func (r *Reader) Close() error {
	r.once.Do(func() { close(r.closed) })
	r.mu.Lock()
	f := r.feed
	r.feed = nil
	r.mu.Unlock()
	if f != nil {
		r.hub.release(f)
	}
	return nil
}
