package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

// maxNames bounds the number of names kept from contradictory announcements.
const maxNames = 8

// The pauses between requests for the true name of a room.
const (
	firstNamePause   = 5 * time.Second
	longestNamePause = 5 * time.Minute
)

// names holds the possible names of a session's room. Any device of a project can announce any
// name; only the token endpoint can verify it.
type names struct {
	came chan struct{} // signals a name to try; capacity 1

	pause time.Duration // last pause of wait

	mu    sync.Mutex // guards the fields below
	tried []string
	next  []string
}

func newNames(first string) *names {
	return &names{came: make(chan struct{}, 1), tried: []string{first}}
}

// add adds a name to try. A name from the platform comes first.
func (n *names) add(name string, platform bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case name == "" || slices.Contains(n.next, name) || !platform && slices.Contains(n.tried, name):
		return
	case platform:
		n.next = slices.Insert(n.next, 0, name)
	case len(n.tried)+len(n.next) < maxNames:
		n.next = append(n.next, name)
	default:
		return
	}
	select {
	case n.came <- struct{}{}:
	default:
	}
}

// take returns the next name to try.
func (n *names) take() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.next) == 0 {
		return "", false
	}
	name := n.next[0]
	n.next = n.next[1:]
	n.tried = append(n.tried, name)
	return name, true
}

// wait waits for a name, or until the next request to the platform is due.
func (n *names) wait(ctx context.Context) {
	n.pause = max(firstNamePause, min(2*n.pause, longestNamePause))
	t := time.NewTimer(n.pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-n.came:
	case <-t.C:
	}
}

// correctRoom changes the room name of a recording that was never in a room, because the platform
// answered that the session's room has a different name. It uses the next name received or, if
// there is none, requests the name from the platform. Without a name, it waits and returns the
// recording unchanged. The recorder then requests the session's state again.
func (c *Controller) correctRoom(ctx context.Context, rec *spool.Recording,
	st *openRecording,
) *spool.Recording {
	info := rec.Info()
	log := c.log.With("egress_id", info.EgressID, "session_id", info.SessionID)
	name, ok := st.names.take()
	if !ok {
		log.Warn("the session was announced with the wrong room; asking the platform for the " +
			"right one")
		var err error
		if name, err = c.nextName(ctx, info.SessionID, st); err != nil && ctx.Err() == nil {
			log.Warn("the platform does not say which room the session has; asking again",
				"error",
				err)
		}
	}
	if name != "" && name != info.RoomName {
		other := info
		other.RoomName = name
		prefix := c.keyPrefix(other)
		corrected, err := c.o.Spool.Correct(rec, name, prefix)
		if err == nil {
			log.Info("the room of the recording was corrected", "room", name)
			return corrected
		}
		st.names.add(name, true)
		log.Error("cannot correct the room of the recording; trying again", "error", err)
	}
	st.names.wait(ctx)
	return rec
}

// nextName requests the name of a session's room from the platform. It returns early if another
// name is received, because the platform may stall for minutes.
func (c *Controller) nextName(ctx context.Context, sessionID string, st *openRecording) (string,
	error,
) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var name string
	var err error
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		name, err = c.roomOf(ctx, sessionID)
	}()
	for {
		select {
		case <-answered:
			return name, err
		case <-st.names.came:
			if said, ok := st.names.take(); ok {
				cancel()
				<-answered
				return said, nil
			}
		}
	}
}

// roomOf requests the name of a session's room from the platform. If the session list is available,
// it contains the name in every case, even if the room is gone.
func (c *Controller) roomOf(ctx context.Context, sessionID string) (string, error) {
	s, err := c.o.Registry.Session(ctx, sessionID)
	if err == nil && s.Room != "" {
		return s.Room, nil
	}
	list, lerr := c.o.Registry.Sessions(ctx)
	if lerr != nil {
		return "", fmt.Errorf("ask for session %s: %w", sessionID, lerr)
	}
	for _, s := range list {
		if s.ID == sessionID {
			return s.Room, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("session %s is not in the list", sessionID)
	}
	return "", err
}
