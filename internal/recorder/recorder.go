// Package recorder records one session: it joins the LiveKit room, appends what
// arrives to the spool, rejoins after an outage, and seals the recording when
// the session has ended.
package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Room joins LiveKit rooms. Join returns when data can be received; the
// handler's contract is that of [room.Handler].
type Room interface {
	Join(ctx context.Context, o room.JoinOptions) (Conn, error)
}

// Conn is one stay in a room.
type Conn interface {
	// Done is closed when nothing more will be delivered.
	Done() <-chan struct{}
	// End says why the stay is over; valid after Done.
	End() room.Disconnect
	// Leave ends the stay by our own will and returns after Done.
	Leave(ctx context.Context)
}

// SessionState is what the authority knows about a session.
type SessionState = session.State

// The states an authority can report. An authority that cannot tell returns an
// error instead.
const (
	SessionRunning = session.Running
	// SessionRoomMissing: the session counts as running, but LiveKit has no room
	// of its name. It is over, unless LiveKit has just restarted.
	SessionRoomMissing = session.Empty
	SessionEnded       = session.Ended
)

// ErrSessionEnded is returned by [Authority.Token] for a session that is over.
var ErrSessionEnded = session.ErrEnded

// ErrWrongRoom is returned by [Authority.Token] where the session's room has another name, and by
// [Recorder.Run] for a recording that was never in a room and is therefore to be given the right
// one. Whoever announced the session was mistaken, or lied.
var ErrWrongRoom = session.ErrWrongRoom

// ErrNoKey is returned by [Options.OwnToken] where there is no key to make tokens with.
var ErrNoKey = errors.New("no key of the LiveKit server")

// Authority knows whether the session still runs. Asking it must not change
// anything: above all it must not create the room.
type Authority interface {
	// Token returns the LiveKit URL and a join token for identity,
	// [ErrSessionEnded] (wrapped) when the session is over, [ErrWrongRoom] when its
	// room has another name, and any other error when it cannot tell.
	Token(ctx context.Context, identity string) (url, token string, err error)
	// State says whether the session runs; an error means that nobody knows.
	State(ctx context.Context) (SessionState, error)
}

// Options are what a recorder needs to know beside the recording itself.
type Options struct {
	Room      Room
	Authority Authority
	// OwnToken makes a join token for identity without the authority, or returns [ErrNoKey]; nil:
	// there is never a key for that.
	OwnToken func(identity string) (url, token string, err error)
	// RoomExists asks LiveKit, with the key of OwnToken, whether the room is there, because a join
	// would make it; nil: there is never a key for that.
	RoomExists func(ctx context.Context) (bool, error)
	// SessionOf returns the id of the session that a room says it belongs to, "" where it does not
	// say; nil: no room says it.
	SessionOf func(session.Room) string
	// Fresh says that the announcement was made moments ago, so the room exists
	// and the first join need not ask whether it does.
	Fresh bool
	// RejoinWindow is how long after an unclean loss (of the connection, of this
	// process, of LiveKit) a missing room does not yet mean that the session is
	// over.
	RejoinWindow time.Duration
	// GiveUpAfter bounds how long a recording stays open while neither LiveKit nor
	// the authority can be reached. It is then sealed with reason "unreachable",
	// and a session that turns out to run gets a further part. Default 1 h.
	GiveUpAfter time.Duration
	// RoomConfirmed: the platform itself said which room the session has, or the part before was in
	// it. Without that a token of our own may lead into any room; one from the authority proves the
	// name.
	RoomConfirmed bool
	// Excluded seals the recording without joining: an administrator removed the
	// recorder from this session before.
	Excluded bool
	// Selection decides what is recorded; nil: everything. It is this recording's
	// own.
	Selection *filter.Filter
	// AwaySince, if not zero, is since when an earlier recorder of the same recording was out of
	// the room, see [Snapshot].
	AwaySince time.Time
	Logger    *slog.Logger
	Metrics   *Metrics
}

// The reasons of a sealed recording that the recorder itself decides. The
// others are LiveKit's, see [room.Reason].
const (
	ReasonServiceStopped = "service_stopped" // the session may run on; a further part follows
	ReasonUnreachable    = "unreachable"     // likewise
	ReasonSessionEnded   = "session_ended"   // the authority says so
	ReasonRoomMissing    = "room_missing"    // no room of that name for the whole rejoin window
	ReasonRoomReplaced   = "room_replaced"   // the room of that name belongs to another session
	ReasonInternalError  = "internal_error"  // the recorder failed; a further part follows
)

// Resumable reports whether a session whose recording was sealed for this
// reason is recorded further, in a next part, when it turns out to run still: a
// room is not the session, which goes on when people come back after a break.
// The others are verdicts: of the platform that the session is over, of an
// administrator that we are not wanted, of the room itself that its name belongs
// to another session now.
func Resumable(reason string) bool {
	switch reason {
	case ReasonServiceStopped, ReasonUnreachable, ReasonInternalError, ReasonRoomMissing,
		string(room.ReasonRoomClosed), string(room.ReasonRoomDeleted),
		string(room.ReasonDuplicateIdentity):
		return true
	}
	return false
}

// Removed reports whether a recording was sealed because an administrator
// removed the recorder from the room. That holds for the session until an
// operator says otherwise.
func Removed(reason string) bool { return reason == string(room.ReasonParticipantRemoved) }

// Recorder records one session into one recording. Create it with [New], call
// [Recorder.Run] once; [Recorder.Snapshot] may be called at any time.
type Recorder struct {
	rec  *spool.Recording
	info spool.Info
	o    Options
	log  *slog.Logger
	// created is when the recording was, by the monotonic clock as far as this process goes.
	created time.Time

	w     *spool.Writer             // set by Run before the first join
	rules textegress.SelectionRules // the last that the recording states; of Run alone

	droppedAt atomic.Int64 // unix ns, when counts of dropped packets were last written

	packets, bytes atomic.Uint64
	participants   atomic.Int64
	outages        atomic.Int64
	lastPacketNS   atomic.Int64
	lastFrameNS    atomic.Int64

	mu        sync.Mutex // guards the rest; never held across I/O
	status    textegress.Status
	reason    string
	connected bool
	epoch     int // connection epoch, 1 for the first join
	// participants in the room, by sid: bounded by how many LiveKit lets in
	present  map[string]member
	roomSIDs map[string]bool // sids under which the room was joined
	inOutage bool
	lostAt   time.Time // of the last unclean loss; zero: none
	away     away
	ended    bool // the recording is being sealed: there is no room to be in
}

type member struct{ identity string }

// New returns a recorder for an open recording.
func New(rec *spool.Recording, o Options) *Recorder {
	if o.GiveUpAfter == 0 {
		o.GiveUpAfter = time.Hour
	}
	if o.SessionOf == nil {
		o.SessionOf = func(session.Room) string { return "" }
	}
	info := rec.Info()
	now := time.Now()
	return &Recorder{
		rec: rec, info: info, o: o,
		created: now.Add(-max(0, now.Sub(time.Unix(0, info.CreatedUnixNS)))),
		log: o.Logger.With("egress_id", info.EgressID, "session_id", info.SessionID, "room",
			info.RoomName),
		status: textegress.StatusStarting, present: map[string]member{},
		roomSIDs: map[string]bool{},
	}
}

// Snapshot is the state of a recorder at one moment.
type Snapshot struct {
	Info         spool.Info
	Status       textegress.Status
	Reason       string
	Connected    bool
	Packets      uint64
	Bytes        uint64
	Recorded     uint64
	Durable      uint64
	Participants int
	Outages      int
	LastPacketAt time.Time
	// AwaySince is since when the recorder is out of its room though it should be in it: since it
	// began, or since it lost the room; zero: it is in. JoinError says why; it holds neither
	// identities nor tokens.
	AwaySince time.Time
	JoinError string
}

// Snapshot returns the state now.
func (r *Recorder) Snapshot() Snapshot {
	s := Snapshot{
		Info: r.info, Packets: r.packets.Load(), Bytes: r.bytes.Load(),
		Participants: int(r.participants.Load()), Outages: int(r.outages.Load()),
	}
	if ns := r.lastPacketNS.Load(); ns != 0 {
		s.LastPacketAt = time.Unix(0, ns)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Status, s.Reason, s.Connected = r.status, r.reason, r.connected
	if !r.away.since.IsZero() {
		s.AwaySince, s.JoinError = r.away.since, r.away.why()
	}
	if r.w != nil {
		s.Recorded, s.Durable = r.w.Recorded(), r.w.Durable()
	}
	return s
}

// Run records until the session has ended, or until ctx is done, and seals the
// recording. When it returns nil the recording is sealed, or ctx ended before
// the room was joined for the first time; otherwise, [ErrWrongRoom] included, it is
// still open on disk, with everything that was appended. A new recorder continues
// an open recording.
func (r *Recorder) Run(ctx context.Context) error {
	w, err := r.rec.Writer()
	if err != nil {
		return fmt.Errorf("open recording %s: %w", r.info.EgressID, err)
	}
	defer w.Close() // after Seal: a no-op
	r.mu.Lock()
	r.w = w
	r.mu.Unlock()
	if err := r.begin(ctx); err != nil {
		return fmt.Errorf("begin recording %s: %w", r.info.EgressID, err)
	}
	r.goAway()
	defer r.endWatch()
	status, reason, err := r.stay(ctx)
	if errors.Is(err, errNotBegun) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.seal(ctx, status, reason)
}

// beginOutage states an outage that began at sinceNS (unix), unless one is open.
// It is open when it is written.
func (r *Recorder) beginOutage(cause string, sinceNS int64) error {
	r.mu.Lock()
	open := r.inOutage
	r.mu.Unlock()
	if open {
		return nil
	}
	if err := r.stateDropped(r.w.AppendVital); err != nil {
		return err
	}
	if err := r.event(time.Now().UnixNano(), segment.Event{
		Kind:  textegress.KindOutageStarted,
		Cause: cause, SinceUnixNS: sinceNS,
	}); err != nil {
		return err
	}
	r.mu.Lock()
	r.inOutage = true
	r.mu.Unlock()
	r.outages.Add(1)
	r.o.Metrics.outage(cause)
	r.log.Warn("outage began", "cause", cause)
	return nil
}

// event writes an event of our own that the record cannot do without, in the
// current epoch.
func (r *Recorder) event(unixNS int64, ev segment.Event) error {
	return r.eventBy(r.w.AppendVital, unixNS, ev)
}

func (r *Recorder) eventBy(write func(segment.Frame) error, unixNS int64, ev segment.Event) error {
	r.mu.Lock()
	epoch := r.epoch
	r.mu.Unlock()
	f, err := eventFrame(uint16(epoch), unixNS, ev)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return err
	}
	r.lastFrameNS.Store(f.UnixNS)
	return nil
}

// write appends one frame. Its time begins an outage, should one follow.
func (r *Recorder) write(f segment.Frame) error {
	if err := r.w.Append(f); err != nil {
		return err
	}
	r.lastFrameNS.Store(f.UnixNS)
	return nil
}

// seal closes the recording for good. A stop of the service does not keep it from
// being sealed, only a disk that refuses: it then stays open.
func (r *Recorder) seal(ctx context.Context, status textegress.Status, reason string) error {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.comeBack()
	r.setStatus(textegress.StatusEnding, reason)
	now := time.Now().UnixNano()
	err := r.insist(ctx, "end the recording", func() error {
		if err := r.stateDropped(r.w.AppendVital); err != nil {
			return err
		}
		return r.event(now, segment.Event{
			Kind: textegress.KindRecordingEnded, Reason: reason,
			Status: string(status),
		})
	})
	if err != nil {
		return err
	}
	err = r.insist(ctx, "seal the recording", func() error {
		return r.w.Seal(spool.Sealed{Status: status, Reason: reason, EndedUnixNS: now})
	})
	if err != nil {
		return err
	}
	r.setStatus(status, reason)
	r.o.Metrics.sealed(status)
	r.log.Info("recording sealed", "status", status, "reason", reason, "packets", r.packets.Load(),
		"outages", r.outages.Load())
	return nil
}

func (r *Recorder) setStatus(s textegress.Status, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.reason = s, reason
}
