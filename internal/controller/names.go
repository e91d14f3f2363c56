package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

// maxNames bounds the names that contradicting announcements can make us remember.
const maxNames = 8

// How often the platform is asked for the true name of a room.
const (
	firstNamePause   = 5 * time.Second
	longestNamePause = 5 * time.Minute
)

// names are the names that a session's room may have. Every device of a project can announce
// anything; the token endpoint knows.
type names struct {
	came chan struct{} // there is a name to try; capacity 1

	pause time.Duration // of wait

	mu    sync.Mutex // guards the rest
	tried []string
	next  []string
}

func newNames(first string) *names {
	return &names{came: make(chan struct{}, 1), tried: []string{first}}
}

// add adds a name to try; one that the platform said comes first.
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

// wait waits for a name, or until it is time to ask the platform again.
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

// correctRoom gives a recording that was never in a room another name of its room, because the
// platform says that it is not the one that was announced: one that somebody else said, otherwise
// that of the platform. Where there is none it waits, and returns the recording as it is: its
// recorder then asks once more whether the session runs.
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
		prefix := textegress.Prefix(info.ProjectName, info.ProjectID, name, info.Topic,
			info.EgressID)
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

// nextName asks the platform for the name of a session's room, until somebody else says one: the
// platform may stall for minutes.
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

// roomOf asks the platform for the name of a session's room. The list has it in every case, where
// it can be had: also for a session whose room is gone.
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
