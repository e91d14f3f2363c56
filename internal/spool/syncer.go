package spool

import (
	"log/slog"
	"sync"
	"time"
)

// syncWorkers is the number of concurrent fsyncs. More would not help a single disk. One would not
// be enough, because the slow fsync of one recording must not hold up all others.
const syncWorkers = 4

// startFirst is the minimum number of writers in a round for which the syncer starts the write-back
// of all of them before it syncs the first. The journal and the disk then handle all of them at
// once. On ext4 this saves a third to a half of the CPU time of a round of a hundred files or more
// (BenchmarkRound). With fewer than about eight it makes no difference.
const startFirst = 8

// syncer syncs the writers of a spool. The first Append after a writer's last sync queues the
// writer. A few workers process the queue one interval after its first writer was queued. Idle
// recordings cost nothing.
type syncer struct {
	interval time.Duration
	log      *slog.Logger
	wake     chan struct{} // capacity 1
	done     chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex
	queue []*Writer // each at most once, see Writer.dirty
	since time.Time // when the first writer in queue was queued
}

func startSyncer(interval time.Duration, log *slog.Logger) *syncer {
	s := &syncer{
		interval: interval, log: log, wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	s.wg.Go(s.run)
	return s
}

// stop waits for the syncs in progress. The Close of each queued writer syncs it.
func (s *syncer) stop() {
	close(s.done)
	s.wg.Wait()
}

func (s *syncer) add(w *Writer) {
	s.mu.Lock()
	s.queue = append(s.queue, w)
	first := len(s.queue) == 1
	if first {
		s.since = time.Now()
	}
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// due returns how long the first writer in the queue may still wait.
func (s *syncer) due() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.interval - time.Since(s.since)
}

func (s *syncer) take() []*Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	s.queue = nil
	return q
}

func (s *syncer) run() {
	jobs := make(chan *Writer)
	var round, workers sync.WaitGroup
	for range syncWorkers {
		workers.Go(func() {
			for w := range jobs {
				s.sync(w)
				round.Done()
			}
		})
	}
	defer workers.Wait()
	defer close(jobs)
	timer := time.NewTimer(0)
	<-timer.C
	for {
		select {
		case <-s.done:
			return
		case <-s.wake:
		}
		timer.Reset(s.due())
		select {
		case <-s.done:
			return
		case <-timer.C:
		}
		queue := s.take()
		if len(queue) >= startFirst {
			for _, w := range queue {
				s.start(w)
			}
		}
		for _, w := range queue {
			round.Add(1)
			jobs <- w
		}
		round.Wait()
	}
}

func (s *syncer) start(w *Writer) {
	if !w.syncMu.TryLock() {
		return // see sync
	}
	defer w.syncMu.Unlock()
	if time.Now().Before(w.notUntil) {
		return
	}
	w.startSync()
}

func (s *syncer) sync(w *Writer) {
	// Seal holds syncMu for long and syncs by itself.
	if !w.syncMu.TryLock() {
		s.add(w)
		return
	}
	defer w.syncMu.Unlock()
	if time.Now().Before(w.notUntil) {
		s.add(w)
		return
	}
	w.dirty.Store(false) // before the sync, so that a concurrent Append queues w again
	w.sync()
}
