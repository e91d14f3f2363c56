package roomtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/segment"
	"github.com/syncflow/textegress/test/stack"
)

// recorded is a recorded session: the service's recorder with its spool, on a network that a test
// can harm, and people who send numbered messages from elsewhere.
type recorded struct {
	t     testing.TB
	l     *stack.LiveKit
	name  string
	net   *faultNet
	proxy *proxy
	rec   *spool.Recording
	done  chan error
	stop  context.CancelFunc

	mu       sync.Mutex
	away     chan struct{} // not nil: the authority cannot be reached until it is closed
	snapshot func() recorder.Snapshot
}

// startSession begins to record a room, on a network with the faults that prepare sets, and returns
// when it has been joined.
func startSession(t testing.TB, l *stack.LiveKit, name string,
	prepare func(*faultNet, *room.Options),
) *recorded {
	t.Helper()
	name = strings.ToLower(name) // it is the session id too
	if _, err := l.RoomService().CreateRoom(t.Context(), &livekit.CreateRoomRequest{
		Name: name, Metadata: "|session_id:" + name + "|project_id:p|comments:|",
	}); err != nil {
		t.Fatal(err)
	}
	s := &recorded{
		t: t, l: l, name: name, net: newFaultNet(t), proxy: newProxy(t, l.URL),
		done: make(chan error, 1),
	}
	o := room.Options{Net: s.net}
	if prepare != nil {
		prepare(s.net, &o)
	}
	client, err := room.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.Open(t.TempDir(), spool.Options{
		SyncInterval: 50 * time.Millisecond,
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixNano()
	s.rec, err = sp.Create(spool.Info{
		EgressID: spool.NewEgressID(), SessionID: name, RoomName: name, ProjectID: "p", Part: 1,
		AnnouncedUnixNS: now, CreatedUnixNS: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := recorder.New(s.rec, recorder.Options{
		Room: rooms{client}, Authority: s, RejoinWindow: time.Minute,
		SessionOf: syncflow.SessionOf,
		Logger:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	s.snapshot = r.Snapshot
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		s.heal()
		cancel()
		<-s.done
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "joined", func() bool { return s.snapshot().Connected })
	return s
}

type rooms struct{ *room.Client }

func (r rooms) Join(ctx context.Context, o room.JoinOptions) (recorder.Conn, error) {
	c, err := r.Client.Join(ctx, o)
	if err != nil {
		return nil, err
	}
	return c, nil
}

var errAway = errors.New("the authority cannot be reached")

// ask waits while the authority is away, as a request over a dark network does.
func (s *recorded) ask(ctx context.Context) error {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-away:
		return nil
	case <-ctx.Done():
		return errors.Join(errAway, ctx.Err())
	}
}

// Token implements recorder.Authority.
func (s *recorded) Token(ctx context.Context, identity string) (string, string, error) {
	if err := s.ask(ctx); err != nil {
		return "", "", err
	}
	token, err := s.l.Token(identity, stack.RecorderGrants(s.name))
	return s.proxy.url, token, err
}

// State implements recorder.Authority, as SyncFlow does: the session runs while its room is there.
func (s *recorded) State(ctx context.Context) (session.State, error) {
	if err := s.ask(ctx); err != nil {
		return 0, err
	}
	switch r, err := s.l.Room(ctx, s.name); {
	case err != nil:
		return 0, err
	case r == nil:
		return session.Ended, nil
	}
	return session.Running, nil
}

// darken cuts the recorder off from everything.
func (s *recorded) darken() {
	s.mu.Lock()
	if s.away == nil {
		s.away = make(chan struct{})
	}
	s.mu.Unlock()
	s.proxy.freeze()
	s.net.set(faults{dark: true})
}

func (s *recorded) heal() {
	s.net.set(faults{})
	s.proxy.thaw()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		close(s.away)
		s.away = nil
	}
}

// crowd are senders, each of whom numbers what it sends on each channel.
type crowd struct {
	stop    chan struct{}
	sending sync.WaitGroup
	senders []*sender
	sent    []int // by sender; valid after end
}

const crowdSize, crowdEvery = 2, 20 * time.Millisecond

func startCrowd(s *recorded) *crowd {
	s.t.Helper()
	c := &crowd{stop: make(chan struct{}), sent: make([]int, crowdSize)}
	for i := range crowdSize {
		c.senders = append(c.senders, enter(s.t, s.l, s.name, fmt.Sprintf("sender-%d", i)))
	}
	// A server that has not yet seen a sender's channels open drops what comes.
	eventually(s.t, "everybody can be heard", func() bool {
		for _, p := range c.senders {
			p.send(true, []byte("-1"))
			p.send(false, []byte("-1"))
		}
		time.Sleep(20 * time.Millisecond)
		return s.account().heard == 2*crowdSize
	})
	for i, s := range c.senders {
		c.sending.Go(func() {
			tick := time.NewTicker(crowdEvery)
			defer tick.Stop()
			for {
				select {
				case <-c.stop:
					return
				case <-tick.C:
					s.send(true, fmt.Append(nil, c.sent[i]))
					s.send(false, fmt.Append(nil, c.sent[i]))
					c.sent[i]++
				}
			}
		})
	}
	return c
}

func (c *crowd) end() {
	close(c.stop)
	c.sending.Wait()
}

// account is what a recording says: all in record order.
type account struct {
	numbers map[string][]number // by sender and channel
	outages []outage
	joins   int
	heard   int // senders and channels
}

type number struct{ n, at int }

type outage struct {
	cause      string
	began, end int // positions; end -1: it lasts
	since      time.Time
}

// account reads the recording as it is now.
func (s *recorded) account() account {
	s.t.Helper()
	a := account{numbers: map[string][]number{}}
	at := 0
	for f, err := range s.rec.Frames() {
		if err != nil {
			s.t.Fatal(err)
		}
		at++
		if f.Type == segment.FramePacket {
			p := &livekit.DataPacket{}
			n := 0
			if err := proto.Unmarshal(f.Payload, p); err != nil {
				s.t.Fatal(err)
			}
			if _, err := fmt.Sscan(string(p.GetUser().GetPayload()), &n); err != nil {
				s.t.Fatal(err)
			}
			k := fmt.Sprintf("%s channel %d", p.ParticipantIdentity, f.Channel)
			if _, ok := a.numbers[k]; !ok {
				a.heard++
				a.numbers[k] = nil
			}
			if n >= 0 {
				a.numbers[k] = append(a.numbers[k], number{n, at})
			}
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		switch ev.Kind {
		case textegress.KindJoined:
			a.joins++
		case textegress.KindOutageStarted:
			a.outages = append(a.outages, outage{
				cause: ev.Cause, began: at, end: -1,
				since: time.Unix(0, ev.SinceUnixNS),
			})
		case textegress.KindOutageEnded:
			a.outages[len(a.outages)-1].end = at
		}
	}
	return a
}

// complete reports whether everybody's last number has arrived.
func (s *recorded) complete(c *crowd) bool {
	a := s.account()
	for i, n := range c.sent {
		for _, ch := range []room.Channel{room.Reliable, room.Lossy} {
			ns := a.numbers[fmt.Sprintf("sender-%d channel %d", i, ch)]
			if len(ns) == 0 || ns[len(ns)-1].n != n-1 {
				return false
			}
		}
	}
	return true
}

// check fails unless each number arrived at most once, the reliable ones in order, and what is
// missing of a sender's numbers on a channel is one run that lies, in record order, across an
// outage. It returns how many are missing. (Lossy ones overtake each other between sender and
// server.)
func (a account) check(t testing.TB, c *crowd) (missing int) {
	t.Helper()
	for i, n := range c.sent {
		for _, ch := range []room.Channel{room.Reliable, room.Lossy} {
			k := fmt.Sprintf("sender-%d channel %d", i, ch)
			got := a.numbers[k]
			byNumber := func(x, y number) int { return x.n - y.n }
			if ch == room.Reliable && !slices.IsSortedFunc(got, byNumber) {
				t.Errorf("%s: not in order", k)
			}
			got = slices.SortedFunc(slices.Values(got), byNumber)
			var runs [][2]int // first and last missing
			next := 0
			for _, x := range append(got, number{n, 0}) {
				if x.n < next {
					t.Errorf("%s: %d twice", k, x.n)
				}
				if x.n > next {
					runs = append(runs, [2]int{next, x.n - 1})
					missing += x.n - next
				}
				next = x.n + 1
			}
			if len(runs) == 0 {
				continue
			}
			before, after := 0, 1<<60
			for _, x := range got {
				if x.n < runs[0][0] {
					before = max(before, x.at)
				} else if x.n > runs[0][1] {
					after = min(after, x.at)
				}
			}
			if len(runs) > 1 || !a.across(before, after) {
				t.Errorf("%s: missing %v, between positions %d and %d, outages %v", k, runs, before,
					after, a.outages)
			}
		}
	}
	return missing
}

// across reports whether an outage lies between two positions.
func (a account) across(from, to int) bool {
	for _, o := range a.outages {
		if o.began > from && o.end != -1 && o.end < to {
			return true
		}
	}
	return false
}
