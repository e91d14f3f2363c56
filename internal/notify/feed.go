package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/spool"
)

const (
	// messageConcurrency is the maximum number of simultaneous batches to one receiver, each of a
	// different recording, and of the finished recordings that are read for it at the same time.
	messageConcurrency = 8
	// gather is how long a line of an open recording waits for further ones.
	gather = 400 * time.Millisecond
	// saveEvery is the least time between two writes of one cursor. After a crash, the batches of
	// that time are sent again.
	saveEvery = 5 * time.Second
)

// runFeeds starts the goroutines of the feeds that have a receiver, and stops the others.
func (n *Notifier) runFeeds(ctx context.Context, running *sync.WaitGroup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		for _, f := range r.feeds {
			switch {
			case r.linked == nil && f.stop != nil:
				f.stop()
			case r.linked != nil && f.stop == nil:
				feedCtx, stop := context.WithCancel(ctx)
				f.stop = stop
				running.Go(func() {
					n.runFeed(feedCtx, f)
					stop()
					n.mu.Lock()
					defer n.mu.Unlock()
					f.stop = nil
				})
			}
		}
	}
}

// runFeed sends the lines of a feed until the last one is accepted or the rest is given up.
func (n *Notifier) runFeed(ctx context.Context, f *feed) {
	turn := false // it is one of the finished recordings that are read
	release := func() {
		if turn {
			<-f.receiver.turns
			turn = false
		}
	}
	defer release()
	defer f.closeReader()
	defer n.save(f)
	for {
		rec, ok := n.o.Spool.Recording(f.egressID)
		if !ok {
			return // the next scan drops the feed
		}
		live := rec.State() == spool.StateOpen
		if !live && !turn {
			n.markWaiting(f)
			select {
			case f.receiver.turns <- struct{}{}:
				turn = true
			case <-ctx.Done():
				return
			}
		}
		verdict, pause := n.advance(ctx, f, rec, live)
		switch {
		case verdict != "":
			f.closeReader()
			n.settle(ctx, f, verdict)
			return
		case ctx.Err() != nil:
			return
		case pause > 0:
			f.closeReader()
			release()
			n.pause(ctx, f.receiver, pause)
		}
	}
}

// pause waits, until the receiver answers again at most.
func (n *Notifier) pause(ctx context.Context, r *receiver, d time.Duration) {
	n.mu.Lock()
	if r.up == nil {
		r.up = make(chan struct{})
	}
	up := r.up
	n.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-up:
	case <-t.C:
	}
}

// advance waits for a line and sends a batch that begins with it. It returns a suffix if the feed
// is at its end, or else how long to wait before the next call.
func (n *Notifier) advance(ctx context.Context, f *feed, rec *spool.Recording, live bool) (
	verdict string, pause time.Duration,
) {
	if n.overdue(f, rec) {
		n.reportGivenUp(f, "its receiver has not accepted them in time")
		return givenUpSuffix, 0
	}
	err := f.open(n.o.Lines)
	if err == nil {
		err = n.nextLine(ctx, f)
	}
	switch {
	case ctx.Err() != nil:
		return "", 0
	case errors.Is(err, io.EOF):
		return sentSuffix, 0
	case errors.Is(err, ErrGone):
		n.reportGivenUp(f, "the local data of the recording was removed")
		return givenUpSuffix, 0
	case err != nil:
		return "", n.failRead(f, err)
	}
	n.markWaiting(f)
	if live && !f.behind && f.repeat == 0 {
		if err := backoff.Sleep(ctx, gather); err != nil {
			return "", 0
		}
	}
	release, ok := n.slot(ctx, f.receiver)
	if !ok {
		return "", 0
	}
	defer release()
	n.mu.Lock()
	linked := f.receiver.linked
	n.mu.Unlock()
	if linked == nil {
		return "", time.Second // the next scan stops the feed
	}
	l := *linked
	b, err := f.collect(ctx, l.Subscription)
	switch {
	case ctx.Err() != nil:
		return "", 0
	case err != nil:
		return "", n.failRead(f, err)
	case b.lines == 0:
		f.accept(b, false)
		n.markAccepted(f)
		return "", 0
	}
	return n.sendBatch(ctx, f, rec, l, b)
}

// sendBatch makes one attempt to send a batch, and records the result.
func (n *Notifier) sendBatch(ctx context.Context, f *feed, rec *spool.Recording, l link, b batch) (
	verdict string, pause time.Duration,
) {
	body, err := b.encode(rec.Info(), f.cursor)
	if err != nil {
		return "", n.failRead(f, err)
	}
	code, retryAfter, err := n.send(ctx, l, body)
	switch {
	case err == nil:
		n.metrics.batches.Inc()
		n.metrics.messages.Add(float64(b.lines))
		n.recovered(f.receiver)
		f.accept(b, true)
		n.markAccepted(f)
		if time.Since(f.savedAt) >= saveEvery {
			n.save(f)
		}
		return "", 0
	case code == statusGone:
		n.recovered(f.receiver)
		n.reportGivenUp(f, "its receiver answered 410 Gone")
		return givenUpSuffix, 0
	case code == http.StatusRequestEntityTooLarge && b.lines > 1:
		// Its limit is smaller than ours.
		f.maxBytes, f.maxLines = max(1, len(b.body)/2), b.lines/2
		n.log.Info("a webhook accepts smaller batches of messages only", "host", hostOf(l.URL),
			"egress_id", f.egressID, "lines", f.maxLines, "bytes", f.maxBytes)
		f.repeat = 0
		f.closeReader()
		return "", 0
	}
	f.repeat = b.last
	pause = n.failBatch(f, l, err, retryAfter)
	if n.expired(rec, l.maxAge()) {
		n.reportGivenUp(f, "its receiver has not accepted them in time")
		return givenUpSuffix, 0
	}
	return "", pause
}

// slot waits until the receiver may get a request: a failing one gets one at a time, with pauses.
func (n *Notifier) slot(ctx context.Context, r *receiver) (release func(), ok bool) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	state := func() (bool, time.Duration) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return r.failures > 0, time.Until(r.next)
	}
	if failing, _ := state(); !failing {
		return func() { <-r.slots }, true
	}
	select {
	case r.probe <- struct{}{}:
	case <-ctx.Done():
		<-r.slots
		return nil, false
	}
	release = func() { <-r.probe; <-r.slots }
	for {
		failing, pause := state()
		if !failing || pause <= 0 {
			return release, true
		}
		if n.pause(ctx, r, pause); ctx.Err() != nil {
			release()
			return nil, false
		}
	}
}

// open opens the reader at the first line that the receiver has not accepted. If the version has
// changed, so may have the numbers of the lines: all are sent again.
func (f *feed) open(lines Lines) error {
	for f.reader == nil {
		reader, err := lines.Follow(f.egressID, f.cursor.N+1)
		if err != nil {
			return err
		}
		version := reader.Version()
		switch before := f.cursor.Version; {
		case before == version:
		case f.cursor.N == 0:
			f.cursor.Version = version
		default:
			f.cursor.Version, f.cursor.Replaces = version, before
			f.cursor.N, f.cursor.SentN, f.repeat = 0, 0, 0
			if err := reader.Close(); err != nil {
				return err
			}
			continue
		}
		f.reader = reader
	}
	return nil
}

func (f *feed) closeReader() {
	if f.reader != nil {
		_ = f.reader.Close() // it was only read
	}
	f.reader, f.head = nil, nil
}

// nextLine waits for the first line after the cursor. Meanwhile it writes the cursor, if that is
// due.
func (n *Notifier) nextLine(ctx context.Context, f *feed) error {
	for f.head == nil {
		waitCtx, cancel := context.WithCancel(ctx)
		if f.cursor != f.saved {
			cancel()
			waitCtx, cancel = context.WithDeadline(ctx, f.savedAt.Add(saveEvery))
		}
		line, err := f.reader.Next(waitCtx)
		due := waitCtx.Err() != nil
		cancel()
		switch {
		case err == nil:
			f.head = &line
		case ctx.Err() == nil && due:
			n.save(f)
		default:
			return err
		}
	}
	return nil
}

// collect returns the lines that are ready, up to the limits of a batch. A batch that failed is
// collected again with the same lines.
func (f *feed) collect(ctx context.Context, s Subscription) (batch, error) {
	b := batch{first: f.cursor.SentN + 1}
	for line := f.head; ; {
		if s.includes(line) && !b.add(line, f.maxBytes) {
			f.head, f.behind = line, true
			return b, nil
		}
		b.last, f.head = line.N, nil
		f.behind = b.lines >= f.maxLines
		if f.behind || line.N == f.repeat || f.repeat == 0 && f.reader.Ready() <= line.N {
			return b, nil
		}
		next, err := f.reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		line = &next
	}
}

// accept moves the cursor past a batch.
func (f *feed) accept(b batch, sent bool) {
	f.cursor.N = b.last
	if sent {
		f.cursor.SentN = b.last
	}
	f.repeat, f.failures = 0, 0
}

// expired reports whether a recording ended longer ago than maxAge.
func (n *Notifier) expired(rec *spool.Recording, maxAge time.Duration) bool {
	sealed, ok := rec.Sealed()
	return ok && time.Since(time.Unix(0, sealed.EndedUnixNS)) >= maxAge
}

// overdue reports whether a feed has expired without a chance of a last attempt.
func (n *Notifier) overdue(f *feed, rec *spool.Recording) bool {
	n.mu.Lock()
	r := f.receiver
	failing, maxAge := r.failures > 0, DefaultMaxAge
	if r.linked != nil {
		maxAge = r.linked.maxAge()
	}
	n.mu.Unlock()
	return failing && n.expired(rec, maxAge+lastTry)
}

// save writes the cursor durably, if it has changed. A failure only means that batches are sent
// again after a crash.
func (n *Notifier) save(f *feed) {
	if f.cursor == f.saved {
		return
	}
	n.saving.Lock() // one at a time: recordings need the disk more
	err := n.store.cursors().save(f.receiver.id, f.cursor)
	n.saving.Unlock()
	f.savedAt = time.Now()
	if err != nil {
		n.logFeed(f, "note which messages were accepted", err)
		return
	}
	f.saved = f.cursor
}

// settle marks a recording as sent or given up, and tries that until it is durable.
func (n *Notifier) settle(ctx context.Context, f *feed, suffix string) {
	for failures := 1; ; failures++ {
		n.save(f)
		if f.cursor == f.saved {
			err := n.store.cursors().finish(f.egressID, f.receiver.id, suffix)
			if err == nil {
				break
			}
			n.logFeed(f, "note that all messages are settled", err)
		}
		if backoff.Sleep(ctx, eventPauses.Delay(failures)) != nil {
			return
		}
	}
	n.mu.Lock()
	delete(f.receiver.feeds, f.egressID)
	f.receiver.fed[f.egressID] = true
	n.mu.Unlock()
	signal(n.done) // the event of the end may be due
	n.o.Settled()
}
