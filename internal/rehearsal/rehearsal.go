// Package rehearsal makes a test recording with the running service: it sends messages of every
// kind into a room of its own, has them recorded and delivered, reads them back from the store, and
// removes everything again.
//
// A project of a LiveKit server takes the whole way. A SyncFlow project cannot: SyncFlow issues
// join tokens for its sessions only. There, the messages are written to the spool directly, and the
// result says that the room was not tried.
//
// The guarantee: a rehearsal touches no other recording. It reads and removes only the recording
// that it started and the objects below the prefix of that recording.
package rehearsal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
)

// Result of a step.
type Result string

// The results.
const (
	OK       Result = "ok"
	Failed   Result = "failed"
	NotTried Result = "not_tried"
)

// Step is one step of a rehearsal.
type Step struct {
	Name   string
	Result Result
	Detail string // a sentence for people, without a full stop
	Took   time.Duration
}

// Room is a LiveKit server on which a rehearsal opens a room.
type Room interface {
	Create(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
	// Join joins the room as a participant that may send.
	Join(ctx context.Context, name string) (Sender, error)
	// Record starts the recording of the room and returns its egress id.
	Record(ctx context.Context, name string) (egressID string, err error)
	// Connected reports whether the recorder of a recording receives what is sent, and why not.
	Connected(egressID string) (ok bool, reason string)
}

// Sender is a participant of the room.
type Sender interface {
	Send(ch room.Channel, b []byte) error
	Leave(ctx context.Context)
}

// Options of [Run].
type Options struct {
	Spool *spool.Spool
	// Room is nil if the project has no room to try; NoRoom then says why.
	Room   Room
	NoRoom string
	// Info describes the recording that is made without a room.
	Info      spool.Info
	KeyPrefix func(spool.Info) string
	// Filter applies the lists of the project; nil: everything is recorded.
	Filter *filter.Filter
	Bucket objstore.Bucket
	// Sealed tells the delivery that the recording made without a room is sealed.
	Sealed func()
	// Hold reports whether the state files of a recording are still needed.
	Hold func(*spool.Recording) bool
	// UploadError returns the last error of the delivery of a recording, "" if there is none.
	UploadError func(egressID string) string
	// Report is called with each step when it has ended.
	Report func(Step)
}

// Timeouts of the steps. The delivery may have to wait for another recording of the project.
const (
	joinTimeout    = 20 * time.Second
	recordTimeout  = 20 * time.Second
	sealTimeout    = 30 * time.Second
	deliverTimeout = 2 * time.Minute
	failingFor     = 10 * time.Second
	removeTimeout  = 30 * time.Second
	holdTimeout    = 5 * time.Second
	pollEvery      = 50 * time.Millisecond
)

// roomPrefix is the prefix of the names of rooms. Sources ignore these rooms, see
// livekit.CheckPrefix.
const roomPrefix = "textegress-check-rehearsal-"

// ErrFailed means that a step failed. The steps have the details.
var ErrFailed = errors.New("the rehearsal failed")

// rehearsal is one run.
type rehearsal struct {
	o        Options
	mark     string
	messages []message // those that the lists of the project let through
	excluded int       // number of the others
	rec      *spool.Recording
	prefix   string // of the delivered objects
}

// Run makes a rehearsal. It returns [ErrFailed] if a step failed, and removes in any case what it
// has made, as far as it can.
func Run(ctx context.Context, o Options) (err error) {
	r := &rehearsal{o: o, mark: strings.ToLower(rand.Text()[:12])}
	defer func() {
		rerr := r.step(context.WithoutCancel(ctx), "removed", removeTimeout, r.remove)
		if err == nil {
			err = rerr
		}
	}()
	r.choose()
	if o.Room == nil {
		o.Report(Step{Name: "room", Result: NotTried, Detail: o.NoRoom})
		err = r.step(ctx, "written", recordTimeout, r.write)
	} else {
		err = r.record(ctx)
	}
	if err != nil {
		return err
	}
	if err := r.step(ctx, "delivered", deliverTimeout, r.deliver); err != nil {
		return err
	}
	return r.step(ctx, "read back", deliverTimeout, r.readBack)
}

// step runs one step and reports it.
func (r *rehearsal) step(ctx context.Context, name string, timeout time.Duration,
	do func(context.Context) (string, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	detail, err := do(ctx)
	s := Step{Name: name, Result: OK, Detail: detail, Took: time.Since(began)}
	if err != nil {
		s.Result, s.Detail = Failed, err.Error()
		if _, ok := errors.AsType[*objstore.Error](err); ok {
			s.Detail = objstore.Redacted(err, "the store refuses it")
		}
		err = fmt.Errorf("%w at the step %q: %s", ErrFailed, name, s.Detail)
	}
	if s.Detail != "" {
		r.o.Report(s)
	}
	return err
}

// choose selects the messages that the lists of the project let through.
func (r *rehearsal) choose() {
	for _, m := range messages(r.mark) {
		if r.recorded(m) {
			r.messages = append(r.messages, m)
		} else {
			r.excluded++
		}
	}
}

// recorded reports whether the lists let all packets of a message through.
func (r *rehearsal) recorded(m message) bool {
	if r.o.Filter == nil {
		return true
	}
	for _, p := range m.packets {
		p = proto.CloneOf(p)
		p.ParticipantIdentity = Identity
		b, err := proto.Marshal(p)
		if err != nil || r.o.Filter.Packet(b) != "" {
			return false
		}
	}
	return true
}

// Identity is the identity of the sender.
const Identity = "textegress-rehearsal"

// record makes the recording in a room of the LiveKit server.
func (r *rehearsal) record(ctx context.Context) error {
	name := roomPrefix + r.mark
	if err := r.step(ctx, "room", joinTimeout, func(ctx context.Context) (string, error) {
		return "opened the room " + name, r.o.Room.Create(ctx, name)
	}); err != nil {
		return err
	}
	deleted := false
	drop := func(ctx context.Context) error {
		if deleted {
			return nil
		}
		deleted = true
		return r.o.Room.Delete(ctx, name)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		_ = drop(ctx) // an empty room closes by itself
	}()
	if err := r.step(ctx, "joined", joinTimeout, func(ctx context.Context) (string, error) {
		return r.join(ctx, name)
	}); err != nil {
		return err
	}
	if err := r.step(ctx, "sent", joinTimeout, func(ctx context.Context) (string, error) {
		return r.send(ctx, name)
	}); err != nil {
		return err
	}
	return r.step(ctx, "sealed", sealTimeout, func(ctx context.Context) (string, error) {
		if err := drop(ctx); err != nil {
			return "", fmt.Errorf("delete the room: %w", err)
		}
		err := poll(ctx, func() (bool, string) {
			_, sealed := r.rec.Sealed()
			return sealed, "the recording is not sealed"
		})
		return "closed the room; the recording is sealed", err
	})
}

// join starts the recording and waits until the recorder receives.
func (r *rehearsal) join(ctx context.Context, name string) (string, error) {
	id, err := r.o.Room.Record(ctx, name)
	if err != nil {
		return "", err
	}
	rec, ok := r.o.Spool.Recording(id)
	if !ok {
		return "", fmt.Errorf("recording %s is not in the data directory", id)
	}
	r.rec = rec
	err = poll(ctx, func() (bool, string) {
		ok, reason := r.o.Room.Connected(id)
		return ok, "the recorder has not joined the room; " + reason
	})
	return "recording " + id + " has joined with open data channels", err
}

// send sends every message as a participant, and waits until all packets are on the disk.
func (r *rehearsal) send(ctx context.Context, name string) (string, error) {
	sender, err := r.o.Room.Join(ctx, name)
	if err != nil {
		return "", fmt.Errorf("join the room as a participant: %w", err)
	}
	defer sender.Leave(ctx)
	var what []string
	packets := 0
	for _, m := range r.messages {
		for _, p := range m.packets {
			b, err := proto.Marshal(withKind(p, m.channel))
			if err != nil {
				return "", fmt.Errorf("encode the %s: %w", m.what, err)
			}
			if err := sender.Send(m.channel, b); err != nil {
				return "", fmt.Errorf("send the %s: %w", m.what, err)
			}
			packets++
		}
		what = append(what, m.what)
	}
	stored := 0
	err = poll(ctx, func() (bool, string) {
		stored, err = r.stored(ctx)
		return err == nil && stored >= packets, fmt.Sprintf("%d of %d packets are on the disk",
			stored, packets)
	})
	detail := fmt.Sprintf("%d packets recorded: %s", stored, strings.Join(what, ", "))
	if r.excluded > 0 {
		detail += fmt.Sprintf("; %d kinds of messages not sent, because the lists of the project "+
			"exclude them", r.excluded)
	}
	return detail, err
}

// withKind sets the deprecated kind of a packet, by which old clients tell the channels apart.
func withKind(p *livekit.DataPacket, ch room.Channel) *livekit.DataPacket {
	p = proto.CloneOf(p)
	p.ParticipantIdentity = Identity
	if ch == room.Lossy {
		p.Kind = livekit.DataPacket_LOSSY //nolint:staticcheck // clients still set it
	}
	return p
}

// poll calls done until it returns true or ctx ends. The error then says what is missing.
func poll(ctx context.Context, done func() (ok bool, missing string)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, missing := done()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", missing, context.Cause(ctx))
		}
	}
}
