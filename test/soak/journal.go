package soak

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// journal reads from the recorder's log which sessions it has joined.
type journal struct {
	r    *stack.Recorder
	log  *stack.LogFollower
	stop chan struct{}
	done chan struct{}

	mu  sync.Mutex
	in  map[string]string // egress id by session id
	err error
}

func newJournal(r *stack.Recorder) (*journal, error) {
	log, err := r.FollowLog()
	if err != nil {
		return nil, err
	}
	j := &journal{
		r: r, log: log, stop: make(chan struct{}), done: make(chan struct{}),
		in: map[string]string{},
	}
	go j.follow()
	return j, nil
}

func (j *journal) close() {
	close(j.stop)
	<-j.done
	_ = j.log.Close()
}

func (j *journal) follow() {
	defer close(j.done)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := j.log.Next()
		j.mu.Lock()
		j.err = err
		for _, e := range list {
			if e.Msg == "joined" {
				j.in[e.SessionID] = e.EgressID
			}
		}
		j.mu.Unlock()
		select {
		case <-j.stop:
			return
		case <-tick.C:
		}
	}
}

// joined waits until the recorder is in the session's room and returns the id of the recording.
func (j *journal) joined(ctx context.Context, session string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		j.mu.Lock()
		id, err := j.in[session], j.err
		j.mu.Unlock()
		if id != "" || err != nil {
			return id, err
		}
		if err := backoff.Sleep(ctx, 20*time.Millisecond); err != nil {
			return "", fmt.Errorf("session %s was not joined: %w\n%s", session, err,
				j.r.LogTail(3000))
		}
	}
}

func (j *journal) forget(session string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.in, session)
}
