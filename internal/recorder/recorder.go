// Package recorder records one session. It joins the LiveKit room, appends packets and events to
// the spool, rejoins after an outage, and seals the recording when the session has ended.
//
// [Recorder.Run] calls begin (resume.go) and then recordUntilEnded (session.go), which is one loop:
// get a token (joiner.go, question.go), join, wait until the connection ends, decide what follows
// (outcome.go). Packets and events go from the room to the [handler] (handler.go) and from there to
// the [record] (record.go), which also keeps the state that a later process needs.
package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Room joins LiveKit rooms. Join returns when data can be received. The handler's contract is that
// of [room.Handler].
type Room interface {
	Join(ctx context.Context, o room.JoinOptions) (Conn, error)
}

// Conn is one connection to a room.
type Conn interface {
	// Done is closed when nothing more will be delivered.
	Done() <-chan struct{}
	// End returns the reason why the connection ended. It is valid after Done.
	End() room.Disconnect
	// Leave leaves the room and returns after Done.
	Leave(ctx context.Context)
}

// ErrNoKey is returned by [Options.OwnToken] if there is no key to make tokens with.
var ErrNoKey = errors.New("no key of the LiveKit server")

// Authority answers whether the session is still running. A request must not change anything on the
// platform; above all, it must not create the room.
type Authority interface {
	// Token returns the LiveKit URL and a join token for identity. It returns [session.ErrEnded]
	// (wrapped) if the session has ended, [session.ErrWrongRoom] if its room has another name, and
	// any other error if the answer is unknown.
	Token(ctx context.Context, identity string) (url, token string, err error)
	// State returns the state of the session. An error means that the state is unknown. An empty
	// session has ended, unless LiveKit has just restarted.
	State(ctx context.Context) (session.State, error)
}

// Options configures a recorder.
type Options struct {
	Room      Room
	Authority Authority
	// Platform is the name of the platform, for messages; empty: "the platform".
	Platform string
	// OwnToken makes a join token for identity without the authority, or returns [ErrNoKey]. It is
	// nil if there is never a key.
	OwnToken func(identity string) (url, token string, err error)
	// FindRoom queries LiveKit, with the key of OwnToken, for the room of the session's name,
	// because a join would create it. It returns [ErrNoKey] without a key, and is nil if there is
	// never one.
	FindRoom func(ctx context.Context) (found session.Room, ok bool, err error)
	// Runs is true if a session is one run of a room and its id the sid of the room. A room with
	// another sid is then another session, unless the server crashed and made the room again; see
	// run.go.
	Runs bool
	// SingleNode reports whether the LiveKit server keeps its rooms in its memory, so that a crash
	// loses their sids; nil: it never does.
	SingleNode func(ctx context.Context) (bool, error)
	// Continue stores that the run of the room with the given sid continues the session. It returns
	// an error that wraps ErrOtherSession if that run is being recorded as a session of its own.
	Continue func(sid string) error
	// SessionOf returns the id of the session that a room names as its own, or "" if it names none.
	// It is nil if no room names its session.
	SessionOf func(session.Room) string
	// RoomUpdated is called with the room when its metadata may have changed; nil: nothing is. It
	// must not block.
	RoomUpdated func(session.Room)
	// Fresh is true if the announcement was made a moment ago. The room then exists, and the first
	// join needs no check that it does.
	Fresh bool
	// RejoinWindow is the time after an unclean loss (of the connection, of this process, of
	// LiveKit) during which a missing room does not mean that the session has ended.
	RejoinWindow time.Duration
	// GiveUpAfter bounds how long a recording stays open while neither LiveKit nor the authority
	// can be reached. The recording is then sealed with reason "unreachable", and the session gets
	// a further part if it turns out to be running. The default is 1 h.
	GiveUpAfter time.Duration
	// RoomConfirmed is true if the platform itself named the session's room, or the previous part
	// was recorded in it. Otherwise a token of our own may lead into any room; a token from the
	// authority proves the name.
	RoomConfirmed bool
	// Excluded seals the recording without a join, because an administrator removed the recorder
	// from this session before.
	Excluded bool
	// Selection decides what is recorded; nil: everything. It must not be shared between
	// recordings.
	Selection *filter.Filter
	// AwaySince, if not zero, is the time since which an earlier recorder of the same recording has
	// been out of the room, see [Snapshot].
	AwaySince time.Time
	Logger    *slog.Logger
	Metrics   *Metrics
}

// Recorder records one session into one recording. Create it with [New] and call [Recorder.Run]
// once. [Recorder.Snapshot] may be called at any time.
type Recorder struct {
	spooled *spool.Recording
	rec     *record
	info    spool.Info
	o       Options
	log     *slog.Logger
	// created is the time at which the recording was created, with a monotonic clock reading of
	// this process.
	created time.Time

	// lostAt is the time at which the connection was last lost or the previous process died; zero:
	// never. Only the goroutine of Run uses it.
	lostAt time.Time

	mu        sync.Mutex // guards the fields below; never held across I/O
	status    textegress.Status
	reason    string
	connected bool // the room was accepted
	// the data channels are open. What the server's API sends before that does not reach us.
	open    bool
	away    away
	sealing bool               // the recorder no longer needs a room
	writing bool               // rec.w is set
	begun   bool               // the first frames are written
	stop    string             // reason given to Stop; "" before
	cancel  context.CancelFunc // ends the recording in Run; nil before
}

// New returns a recorder for an open recording.
func New(rec *spool.Recording, o Options) *Recorder {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.GiveUpAfter == 0 {
		o.GiveUpAfter = time.Hour
	}
	if o.SessionOf == nil {
		o.SessionOf = func(session.Room) string { return "" }
	}
	if o.Selection == nil {
		o.Selection, _ = filter.New(segment.SelectionRules{}) // no list is invalid
	}
	o.Platform = cmp.Or(o.Platform, "the platform")
	info := rec.Info()
	now := time.Now()
	log := o.Logger.With("egress_id", info.EgressID, "session_id", info.SessionID, "room",
		info.RoomName)
	return &Recorder{
		spooled: rec, info: info, o: o, log: log,
		rec:     &record{filter: o.Selection, metrics: o.Metrics, log: log},
		created: now.Add(-max(0, now.Sub(time.Unix(0, info.CreatedUnixNS)))),
		status:  textegress.StatusStarting,
	}
}

// ID returns the egress id of the recording.
func (r *Recorder) ID() string { return r.info.EgressID }

// Session returns the id of the session.
func (r *Recorder) Session() string { return r.info.SessionID }

// Snapshot is the current state of a recorder.
type Snapshot struct {
	Info      spool.Info
	Status    textegress.Status
	Reason    string
	Connected bool
	// EverJoined is true if the recorder, or an earlier one of the recording, was in the room, and
	// while that is not known yet.
	EverJoined   bool
	Packets      uint64
	Bytes        uint64
	Recorded     uint64
	Durable      uint64
	Participants int
	// Messages counts packets that begin a message, of everybody, as [Person.Messages] does; Recent
	// those of the last 30 intervals of 10 s, oldest first.
	Messages uint64
	Recent   [recentParts]uint32
	// MorePeople is the number of times that a participant got no counts of his own, or lost them,
	// because there were too many.
	MorePeople int
	// DurableUpTo is the time of the oldest frame that is not yet durable, zero if all are.
	// DurableAge is how long ago that is. Frames of a segment whose fsync failed are left out: they
	// never become durable, and make the recording Suspect.
	DurableUpTo  time.Time
	DurableAge   time.Duration
	Suspect      bool
	Outages      int
	LastPacketAt time.Time
	// AwaySince is the time at which the recorder lost the room or started outside it; zero while
	// it is in the room. JoinError is the reason; it contains neither identities nor tokens.
	AwaySince time.Time
	JoinError string
}

// Snapshot returns the current state.
func (r *Recorder) Snapshot() Snapshot {
	s := Snapshot{Info: r.info}
	r.rec.counts(&s)
	joined := r.rec.everJoined()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Status, s.Reason, s.Connected = r.status, r.reason, r.connected && r.open
	s.EverJoined = joined || !r.writing
	if !r.away.since.IsZero() {
		s.AwaySince, s.JoinError = r.away.since, r.whyAway(r.away)
	}
	if r.writing {
		s.Recorded, s.Durable = r.rec.w.Recorded(), r.rec.w.Durable()
		s.DurableUpTo, s.Suspect = r.rec.w.DurableUpTo(), r.rec.w.Suspect()
		if !s.DurableUpTo.IsZero() {
			s.DurableAge = max(0, time.Since(s.DurableUpTo))
		}
	}
	return s
}

// Stop ends the recording with the given reason: nothing that arrives later is recorded, and Run
// seals the recording, wherever the recorder is. Stop does not wait. It may be called at any time;
// the first reason counts. A decision that must outlive the process is stored with
// [spool.Recording.RequestStop] first.
func (r *Recorder) Stop(reason string) {
	r.rec.ended.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == "" {
		r.stop = reason
		if !r.sealing {
			r.status, r.reason = textegress.StatusEnding, reason
		}
	}
	if r.cancel != nil {
		r.cancel()
	}
}

// stopReason returns the reason given to Stop, "" if the recording was not stopped.
func (r *Recorder) stopReason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// Run records until the session has ended or ctx is done, and seals the recording. It returns nil
// if the recording is sealed, or if ctx ended before the first join. After any error, including
// [session.ErrWrongRoom], the recording is still open on disk with everything that was appended. A
// new recorder continues an open recording.
func (r *Recorder) Run(ctx context.Context) error {
	w, err := r.rec.resume(r.spooled)
	if err != nil {
		return fmt.Errorf("open recording %s: %w", r.info.EgressID, err)
	}
	defer w.Close() // no-op after Seal
	r.mu.Lock()
	r.rec.w, r.writing = w, true
	r.mu.Unlock()
	recording, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.cancel = cancel
	r.mu.Unlock()
	if s, ok := r.spooled.Stop(); ok {
		r.Stop(s.Reason)
	}
	if err := r.begin(ctx); err != nil {
		return fmt.Errorf("begin recording %s: %w", r.info.EgressID, err)
	}
	r.mu.Lock()
	r.begun = true
	r.mu.Unlock()
	r.beginAway()
	defer r.stopAwayTimer()
	end, err := r.recordUntilEnded(recording)
	if errors.Is(err, errNeverJoined) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.seal(ctx, end.status, end.reason)
}

// seal closes the recording permanently, even while the service stops. If the disk rejects the
// writes, the recording stays open.
func (r *Recorder) seal(ctx context.Context, status textegress.Status, reason string) error {
	r.mu.Lock()
	r.sealing = true
	r.mu.Unlock()
	r.endAway()
	r.setStatus(textegress.StatusEnding, reason)
	now := time.Now().UnixNano()
	err := r.retryUntilWritten(ctx, "end the recording", func() error {
		if err := r.rec.writeExclusions(time.Unix(0, now), false); err != nil {
			return err
		}
		if err := r.rec.writeDropped(r.rec.appendReserved); err != nil {
			return err
		}
		return r.rec.event(now, segment.Event{
			Kind: textegress.KindRecordingEnded, Reason: reason,
			Status: string(status),
		})
	})
	if err != nil {
		return err
	}
	err = r.retryUntilWritten(ctx, "seal the recording", func() error {
		return r.rec.w.Seal(spool.Sealed{Status: status, Reason: reason, EndedUnixNS: now})
	})
	if err != nil {
		return err
	}
	r.setStatus(status, reason)
	r.o.Metrics.sealed(status)
	s := r.rec.snapshot()
	r.log.Info("recording sealed", "status", status, "reason", reason, "packets", s.packets,
		"outages", s.outages)
	return nil
}

func (r *Recorder) setStatus(s textegress.Status, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.reason = s, reason
}

// accepted marks the recorder as connected, after the room has been accepted as the session's.
func (r *Recorder) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = true
	if r.stop == "" {
		r.status = textegress.StatusActive
	}
}

// opened marks the data channels as open.
func (r *Recorder) opened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
}

// disconnected marks the recorder as not connected, and reports whether it was connected.
func (r *Recorder) disconnected() (was bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, r.connected, r.open = r.connected, false, false
	return was
}
