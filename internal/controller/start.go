package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

const (
	// sourceAPI is the source of a recording that was requested over the API.
	sourceAPI = "api"
	// maxPrefix bounds the escaped prefix of a request, so that keys stay within the 1024 bytes of
	// object stores.
	maxPrefix = textegress.MaxName
	// undecidedFor is how long a request waits while it is not known whether the room continues a
	// session that is being recorded.
	undecidedFor   = 10 * time.Second
	undecidedPause = 250 * time.Millisecond
)

// The errors of [Controller.Start] that the caller can correct.
var (
	// ErrPrefix means that the prefix of a request cannot be used.
	ErrPrefix = errors.New("the prefix cannot be used")
	// ErrRequestID means that the request id was used for a request that differs.
	ErrRequestID = errors.New("the request id was used for another request")
	// ErrBeingRecorded means that the session is being recorded already, and not as requested.
	ErrBeingRecorded = errors.New("the session is being recorded already")
	// ErrNoServer means that the project has no key of its LiveKit server, or does not know the
	// server's address yet.
	ErrNoServer = errors.New("rooms cannot be looked up")
)

// StartOptions is a request to record the session in a room.
type StartOptions struct {
	Room string // name of the room
	// RequestID makes the request idempotent: a repeated request with the same id returns the
	// recording of the first one, also after that has ended. Empty: every request is a new one.
	RequestID string
	// Prefix is the path below the project's at which the recording is delivered, with slashes
	// between its components. Empty: the path that announced sessions have.
	Prefix string
	// Limits must be within the project's rules.
	Limits   session.Limits
	Webhooks []string // URLs for reports about the recording; the caller has checked them
}

// plain reports whether a request has no options.
func (o StartOptions) plain() bool {
	return o.Prefix == "" && o.Limits.IsZero() && len(o.Webhooks) == 0
}

// Start starts a recording of the session whose room is open, and returns its egress id. Like a
// request of an operator, it overrides a stop and a removal of the recorder, but not an opt-out of
// the room's creator. If the session is being recorded, Start returns the current recording, or
// [ErrBeingRecorded] if the request has other options. With that error and [ErrRequestID], the id
// is that of the existing recording.
//
// It returns [session.ErrRoomMissing] if the room does not exist, [session.ErrUnknown] if the room
// belongs to no session of the project, [session.ErrEnded] if its session is over or its creator
// has opted out, [session.ErrLater] if it remains unknown whether the room continues another
// session, a [*LimitError] if the project's lists exclude part of the requested selection, and the
// errors of this file. Parts that follow have the same options.
func (c *Controller) Start(ctx context.Context, o StartOptions) (string, error) {
	prefix, err := cleanPrefix(o.Prefix)
	if err != nil {
		return "", err
	}
	o.Prefix = prefix
	own, refused := c.limitsOf(o.Limits)
	if len(refused) > 0 {
		return "", fmt.Errorf("record room %q: %w", o.Room, refused[0])
	}
	if o.RequestID != "" {
		defer c.requests.Lock(o.RequestID)()
		if id, ok, err := c.requested(o); ok || err != nil {
			return id, err
		}
	}
	s, err := c.sessionIn(ctx, o.Room)
	if err != nil {
		return "", fmt.Errorf("record room %q: %w", o.Room, err)
	}
	q := request{
		ordered: true, platform: true, fresh: true, api: true, egressID: spool.NewEgressID(),
		selection: both(own, c.creatorLimits(s.ID, s.Limits)),
		requestID: o.RequestID, prefix: prefix, webhooks: slices.Clone(o.Webhooks),
		Announcement: session.Announcement{
			SessionID: s.ID, Room: o.Room, Source: sourceAPI, ReceivedAt: time.Now(),
		},
	}
	undecided := time.Now().Add(undecidedFor)
	for {
		id, created, sealing, err := c.order(q)
		switch {
		case errors.Is(err, session.ErrLater) && time.Now().Before(undecided):
			if err := backoff.Sleep(ctx, undecidedPause); err != nil {
				return "", err
			}
			continue
		case sealing != nil:
			select {
			case <-sealing:
				continue
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		case err != nil:
			return "", fmt.Errorf("record room %q: %w", o.Room, err)
		case created:
			return id, nil
		case o.plain():
			return id, c.addRequest(id, o.RequestID)
		}
		return id, fmt.Errorf("%w, as %s; stop that recording first", ErrBeingRecorded, id)
	}
}

// order creates the recording of a request. If the session is being recorded, it returns the
// current recording; if that is being sealed, it returns a channel that is closed afterwards.
func (c *Controller) order(q request) (id string, created bool, sealing <-chan struct{},
	err error,
) {
	q.SessionID = c.canonical(q.SessionID)
	c.mu.Lock()
	if st := c.open[q.SessionID]; st != nil {
		s := st.recorder.Snapshot()
		done := st.stopping != "" || s.Status != textegress.StatusStarting &&
			s.Status != textegress.StatusActive
		c.mu.Unlock()
		if done {
			return "", false, st.done, nil
		}
		return s.Info.EgressID, false, nil, nil
	}
	c.mu.Unlock()
	id, err = c.begin(q)
	if errors.Is(err, errBeingSealed) { // sealing began in the meantime
		return c.order(q)
	}
	return id, id == q.egressID, nil, err // a concurrent request may have been first
}

// requested returns the first recording of an earlier request with the same id.
func (c *Controller) requested(o StartOptions) (id string, ok bool, err error) {
	for _, rec := range c.o.Spool.Recordings() {
		info := rec.Info()
		if info.ProjectID != c.o.ProjectID || !rec.Requested(o.RequestID) {
			continue
		}
		if info.RoomName != o.Room || !sameOptions(info, o) {
			return info.EgressID, false, fmt.Errorf("%w: it is that of %s", ErrRequestID,
				info.EgressID)
		}
		return info.EgressID, true, nil
	}
	return "", false, nil
}

// sameOptions reports whether the options of a recording match a repeated request. It compares only
// the presence of limits, because the recording may also have limits of the room's creator.
func sameOptions(info spool.Info, o StartOptions) bool {
	if info.RequestID != o.RequestID {
		return o.plain() // it found the recording
	}
	return info.Prefix == o.Prefix && slices.Equal(info.Webhooks, o.Webhooks) &&
		(o.Limits.IsZero() || info.Selection != nil)
}

// addRequest stores that a request found a recording: if that recording is stopped and the request
// is repeated, it must not start another one.
func (c *Controller) addRequest(egressID, requestID string) error {
	rec, ok := c.o.Spool.Recording(egressID)
	if !ok || requestID == "" {
		return nil
	}
	if err := rec.AddRequest(requestID); err != nil {
		return fmt.Errorf("note the request: %w", err)
	}
	return nil
}

// sessionIn returns the session in the room with the given name.
func (c *Controller) sessionIn(ctx context.Context, name string) (session.Session, error) {
	key, url, err := c.liveKit(spool.Info{})
	if err != nil {
		return session.Session{}, fmt.Errorf("%w: %w", ErrNoServer, err)
	}
	room, found, err := key.FindRoom(ctx, url, name)
	switch {
	case err != nil:
		return session.Session{}, fmt.Errorf("look for the room: %w", err)
	case !found:
		return session.Session{}, session.ErrRoomMissing
	}
	id := room.SID
	if !c.runs {
		id = c.o.Registry.SessionOf(room)
	}
	if id == "" {
		return session.Session{}, fmt.Errorf("the room names no session: %w", session.ErrUnknown)
	}
	s, err := c.o.Registry.Session(ctx, id)
	switch {
	case err == nil && s.Room != name:
		return session.Session{}, fmt.Errorf("the room names a session that is in another room: "+
			"%w", session.ErrUnknown)
	case err == nil:
		return s, nil
	case errors.Is(err, session.ErrUnknown), errors.Is(err, session.ErrEnded):
		return session.Session{}, err
	}
	// The details may be unavailable although the state of the session is available.
	s = session.Session{ID: id, Room: name}
	state, err := stateOf(ctx, c.o.Registry, s)
	switch {
	case err != nil:
		return session.Session{}, fmt.Errorf("ask for session %s: %w", id, err)
	case state == session.Ended, state == session.Replaced:
		return session.Session{}, session.ErrEnded
	}
	return s, nil
}

// cleanPrefix returns a prefix without slashes at its ends.
func cleanPrefix(prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	prefix = strings.Trim(prefix, "/")
	length := 0
	for part := range strings.SplitSeq(prefix, "/") {
		switch {
		case part == "":
			return "", fmt.Errorf("%w: a component is empty", ErrPrefix)
		case spool.IsEgressID(part):
			return "", fmt.Errorf("%w: a component has the form of an egress id", ErrPrefix)
		}
		length += len(textegress.EscapeName(part)) + 1
	}
	if length > maxPrefix {
		return "", fmt.Errorf("%w: it has %d bytes, at most %d are possible", ErrPrefix, length,
			maxPrefix)
	}
	return prefix, nil
}

// Prefix returns the key prefix below which a recording of this project is delivered.
func (c *Controller) Prefix(info spool.Info) string { return c.keyPrefix(info) }

// keyPrefix returns the key prefix of a recording.
func (c *Controller) keyPrefix(info spool.Info) string {
	switch {
	case c.o.KeyPrefix != nil:
		return c.o.KeyPrefix(info)
	case info.Prefix != "":
		return info.RoomPrefix(info.ProjectName + "-" + info.ProjectID)
	}
	return textegress.Prefix(info.ProjectName, info.ProjectID, info.RoomName, info.Topic,
		info.EgressID)
}
