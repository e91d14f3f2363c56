package torture

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// contents are the kinds of payload. Each payload contains its number, so that no two are equal.
var contents = []classroom.Content{
	classroom.JSON, classroom.JSON, classroom.JSON, classroom.Text,
	classroom.Hard, classroom.Binary, classroom.Long,
}

// sender sends numbered messages until it is stopped, and rejoins when its connection breaks. It
// connects to LiveKit directly, with its own tokens, so disturbances of the recorder's connections
// do not affect it.
type sender struct {
	l    *classroom.Learner
	rng  *rand.Rand
	rate float64 // messages a second

	mu     sync.Mutex
	unsure map[int]bool
	early  int
	burst  int
	broken int // connections that broke

	stop chan struct{}
	done chan struct{}
	err  error // after done: why it could not leave cleanly
}

func newSender(lk *stack.LiveKit, room, identity string, seed uint64, rate float64) *sender {
	return &sender{
		l: classroom.Enroll(identity, func(context.Context) (string, string, error) {
			token, err := lk.Token(identity, stack.Grants(room))
			return lk.URL, token, err
		}),
		rng: rand.New(rand.NewPCG(seed, 1)), rate: rate, unsure: map[int]bool{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// mark is a time at which LiveKit had acknowledged everything up to a number.
type mark struct {
	n  int
	at time.Time
}

// run sends until stop is closed, then drains, lingers and leaves.
func (s *sender) run(ctx context.Context) {
	defer close(s.done)
	for {
		finished, err := s.stay(ctx)
		if finished || ctx.Err() != nil {
			s.err = err
			return
		}
		s.mu.Lock()
		s.broken++
		s.mu.Unlock()
	}
}

// stay runs one connection. It returns true if the sender left because it was stopped.
func (s *sender) stay(ctx context.Context) (finished bool, err error) {
	first := s.l.Next()
	if err := s.join(ctx); err != nil {
		return true, err
	}
	var marks []mark
	for {
		select {
		case <-s.stop:
			// not an error: doubt records what may not have been sent
			if s.l.Leave(ctx) != nil {
				s.doubt(first, marks)
			}
			return true, ctx.Err()
		case <-ctx.Done():
			s.l.Vanish()
			return true, ctx.Err()
		case <-time.After(s.pause()):
		}
		err := s.send(ctx)
		if err == nil && (len(marks) == 0 || time.Since(marks[len(marks)-1].at) > time.Second/2) {
			if err = s.l.Drain(ctx); err == nil {
				marks = append(marks, mark{s.l.Next() - 1, time.Now()})
			}
		}
		if err != nil {
			s.l.Vanish()
			s.doubt(first, marks)
			return false, err
		}
	}
}

func (s *sender) pause() time.Duration {
	return time.Duration((0.5 + s.rng.Float64()) / s.rate * float64(time.Second))
}

func (s *sender) send(ctx context.Context) error {
	topic := [...]string{"log", "chat", ""}[s.rng.IntN(3)]
	return s.l.Send(ctx, topic, classroom.Payload(contents[s.rng.IntN(len(contents))], s.l.Identity,
		s.l.Next(), s.rng), true)
}

// doubt records the messages of a broken connection that may not have been sent: those not
// acknowledged, or acknowledged less than two seconds before the connection was last seen alive.
func (s *sender) doubt(first int, marks []mark) {
	sure := first - 1
	for _, m := range marks {
		if marks[len(marks)-1].at.Sub(m.at) >= classroom.Linger {
			sure = m.n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := sure + 1; n < s.l.Next(); n++ {
		s.unsure[n] = true
	}
}

// join retries until LiveKit accepts it.
func (s *sender) join(ctx context.Context) error {
	for {
		jctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := s.l.Join(jctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// blast sends n messages as fast as possible and disconnects; how many of them LiveKit accepted is
// unknown. The sender must have left.
func (s *sender) blast(ctx context.Context, n int, then func() error) error {
	if err := s.join(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.burst = s.l.Next()
	s.mu.Unlock()
	for range n {
		if err := s.send(ctx); err != nil {
			return err
		}
	}
	err := then()
	s.l.Vanish()
	return err
}

// sent returns the account of the sender.
func (s *sender) sent() Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Sent{
		Identity: s.l.Identity, Messages: s.l.Sent(), Unsure: s.unsure, Early: s.early,
		Burst: s.burst,
	}
}

// interruptions returns how often the sender's connection broke.
func (s *sender) interruptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// setEarly records that the recorder has only now been seen in the room.
func (s *sender) setEarly() {
	n := s.l.Next() - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early = n
}
