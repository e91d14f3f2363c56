package follow

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

const (
	// idleFor is how long decoded lines are kept after the last reader has left.
	idleFor = 3 * time.Minute
	// keepBytes is how many bytes of the latest lines are kept in memory. Earlier lines are in a
	// file.
	keepBytes = 1 << 20
	// lineCost is the memory of a line beside its JSON.
	lineCost = 100
)

// errReplaced ends a feed whose recording was rewritten. Readers continue with another feed.
var errReplaced = errors.New("the recording was rewritten")

// feed decodes one recording for all of its readers.
type feed struct {
	hub     *Hub
	rec     *spool.Recording
	version string
	readers int           // guarded by Hub.mu
	poked   chan struct{} // capacity 1: readers may have changed

	once    sync.Once
	failure error // of start

	decoder *Decoder // used by run alone

	mu      sync.Mutex // guards the fields below
	recent  []*chunk   // the latest lines
	size    int        // of recent
	file    *lineFile  // the lines before them; nil: none
	last    int64      // the number of the last line
	err     error      // why there are no more lines
	changed chan struct{}
	waiting []chan struct{} // of catchUp, not yet looked at
	closed  bool            // run has ended
}

func newFeed(h *Hub, rec *spool.Recording) *feed {
	return &feed{
		hub: h, rec: rec, poked: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// start begins to decode, in the first call.
func (f *feed) start() error {
	f.once.Do(func() { f.failure = f.begin() })
	return f.failure
}

func (f *feed) begin() error {
	p, _ := f.rec.Watch()
	switch {
	case p.Replacing:
		return errReplaced
	case p.Removing:
		return ErrGone
	}
	if err := f.rec.CheckFollow(); err != nil {
		return err
	}
	decoding, err := f.hub.decoding(f.rec)
	if err != nil {
		return err
	}
	f.version = render.EventsVersion()
	if decoding.KeyName != "" {
		f.version += "+keys/" + decoding.KeyName
	}
	h := f.hub
	if f.decoder, err = NewDecoder(h.ctx, f.rec, DecoderOptions{
		Decoding: decoding, Scratch: f.scratch,
	}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.Join(ErrClosed, f.decoder.Close())
	}
	h.wg.Go(f.run)
	return nil
}

// poke makes run look at the number of readers.
func (f *feed) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// run decodes while there are readers, and ends when there have been none for a while.
func (f *feed) run() {
	defer f.close()
	idle := time.NewTimer(idleFor)
	defer idle.Stop()
	var waiting []chan struct{}
	defer func() { caughtUp(waiting) }()
	for {
		waiting = f.takeWaiting()
		p, progress := f.rec.Watch()
		if p.Replaced {
			f.end(errReplaced)
			return
		}
		watched := f.hub.watched(f)
		if p.Removing && f.hub.dropIdle(f) {
			return
		}
		if watched && !p.Replacing && !f.ended() {
			if err := f.read(p); err != nil {
				f.end(err)
				if !errors.Is(err, io.EOF) {
					return
				}
			}
		}
		caughtUp(waiting)
		waiting = nil
		if watched {
			idle.Reset(idleFor)
		}
		select {
		case <-f.hub.ctx.Done():
			f.end(ErrClosed)
			return
		case <-progress:
		case <-f.poked:
			idle.Reset(idleFor)
		case <-idle.C:
			if f.hub.dropIdle(f) {
				return
			}
		}
	}
}

// read decodes and publishes what there is now. It returns the reason why there will be no more
// lines, nil if there may be.
func (f *feed) read(p spool.Progress) error {
	durable := &p.DurableUpTo
	if p.State != spool.StateOpen {
		durable = nil
	}
	for {
		err := f.decoder.decode(durable)
		if f.hub.ctx.Err() != nil {
			return ErrClosed
		}
		// What was read after a rewrite or removal has begun may be wrong.
		now, _ := f.rec.Watch()
		switch {
		case now.Replacing:
			return nil
		case now.Removing:
			return ErrGone
		}
		if err != nil && !errors.Is(err, segment.ErrNotYet) && !errors.Is(err, io.EOF) {
			return err
		}
		if perr := f.publish(); perr != nil {
			return perr
		}
		switch {
		case errors.Is(err, segment.ErrNotYet):
			return nil
		case err != nil:
			return err
		case !f.hub.watched(f):
			return nil
		}
	}
}

// publish makes the decoded lines available to readers.
func (f *feed) publish() error {
	c := f.decoder.take()
	if c == nil {
		return nil
	}
	if err := f.decoder.events.Save(); err != nil {
		return err
	}
	if err := f.store(c); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(f.recent, c)
	f.size += c.cost()
	f.last = c.last()
	f.wake()
	return nil
}

func (c *chunk) cost() int { return c.size + lineCost*len(c.lines) }

// store moves the oldest lines in memory to the file until there is room for c.
func (f *feed) store(c *chunk) error {
	for len(f.recent) > 0 && f.size+c.cost() > keepBytes { // written by run alone
		if f.file == nil {
			file, err := f.scratch()
			if err != nil {
				return fmt.Errorf("file of decoded lines: %w", err)
			}
			f.mu.Lock()
			f.file = &lineFile{file: file}
			f.mu.Unlock()
		}
		oldest := f.recent[0]
		if err := f.file.append(oldest); err != nil {
			return fmt.Errorf("file of decoded lines: %w", err)
		}
		f.mu.Lock()
		f.file.add(oldest)
		f.recent = f.recent[1:]
		f.size -= oldest.cost()
		f.mu.Unlock()
	}
	return nil
}

// scratch creates a file without a name in the data directory. It leaves the space free that is
// reserved for open recordings.
func (f *feed) scratch() (render.Scratch, error) {
	f.hub.scratchMu.Lock()
	defer f.hub.scratchMu.Unlock()
	return newScratch(cmp.Or(f.hub.o.scratch, f.hub.o.Spool.Dir()), f.rec.CheckFollow)
}

// from returns lines from number n on. If there are none yet, it returns a channel that is closed
// when there are, or the reason why there will be none.
func (f *feed) from(n int64) (lines []Line, changed <-chan struct{}, err error) {
	if f.rec.Replaced() {
		return nil, nil, errReplaced
	}
	f.mu.Lock()
	if errors.Is(f.err, errReplaced) || errors.Is(f.err, ErrClosed) {
		defer f.mu.Unlock()
		return nil, nil, f.err
	}
	if n > f.last {
		defer f.mu.Unlock()
		return nil, f.changed, f.err
	}
	at := sort.Search(len(f.recent), func(i int) bool { return f.recent[i].last() >= n })
	if at < len(f.recent) && f.recent[at].first() <= n {
		defer f.mu.Unlock()
		c := f.recent[at]
		return c.lines[n-c.first():], nil, nil
	}
	file, span := f.file, f.file.span(n)
	file.users.Add(1)
	f.mu.Unlock()
	defer file.users.Done()
	lines, err = file.read(span, n)
	return lines, nil, err
}

func (f *feed) ready() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *feed) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

// end states why there are no more lines. The feed takes no more readers, unless it is complete.
func (f *feed) end(err error) {
	if !errors.Is(err, io.EOF) {
		f.hub.mu.Lock()
		f.hub.forget(f)
		f.hub.mu.Unlock()
		if !errors.Is(err, errReplaced) && !errors.Is(err, ErrClosed) {
			f.hub.log.Warn("cannot follow a recording; the recording itself is not affected",
				"egress_id", f.rec.ID(), "error", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.wake()
}

// catchUp returns a channel that is closed when the lines are ready that are durable now, or when
// there will be no more.
func (f *feed) catchUp() <-chan struct{} {
	done := make(chan struct{})
	f.mu.Lock()
	if f.closed {
		close(done)
	} else {
		f.waiting = append(f.waiting, done)
	}
	f.mu.Unlock()
	f.poke()
	return done
}

// takeWaiting returns the channels of catchUp so far.
func (f *feed) takeWaiting() []chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := f.waiting
	f.waiting = nil
	return waiting
}

// caughtUp closes channels of catchUp.
func caughtUp(waiting []chan struct{}) {
	for _, done := range waiting {
		close(done)
	}
}

// wake wakes the readers. Called with mu held.
func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// close releases the files. Readers that have not read everything get an error.
func (f *feed) close() {
	_ = f.decoder.Close() // only read; the scratch file has no name
	f.mu.Lock()
	if f.err == nil || errors.Is(f.err, io.EOF) {
		f.err = ErrClosed
	}
	f.closed = true
	caughtUp(f.waiting)
	f.waiting = nil
	file := f.file
	f.file, f.recent, f.last = nil, nil, 0
	f.wake()
	f.mu.Unlock()
	if file != nil {
		file.close()
	}
}
