package classroom

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

// Class is the plan of a class. The same plan gives the same messages in the same order for each
// sender; the times of sending depend on the clock.
type Class struct {
	Seed     uint64
	Learners int // default 3
	Messages int // of each learner, default 20
	// Late is the number of learners that join when about a third of the class is over.
	Late int
	// Rejoin is the number of learners that leave once, in the middle of their messages, and rejoin
	// under the same identity. These are the first learners.
	Rejoin int
	// Lossy is the share of messages sent without retransmission, 0 to 1.
	Lossy float64
	// Topics are the topics to choose from; default "chat" and "log".
	Topics []string
	// Contents are the kinds of payload to choose from; default all.
	Contents []Content
	// Pause is the mean time between bursts of one to six messages; default 50 ms.
	Pause time.Duration
	// Identity names the learners; default "learner-1", …
	Identity func(i int) string
	// Tokens returns the LiveKit URL and a fresh join token.
	Tokens func(ctx context.Context, identity string) (url, token string, err error)

	// ServerMessages is the number of messages sent to topic "log" through the server API, by
	// SendData.
	ServerMessages int
	SendData       func(ctx context.Context, topic string, reliable bool, payload []byte) error
}

// Server is the key in a Report for messages without a sender, sent through the server API.
const Server = ""

// Report lists what was sent.
type Report struct {
	// Sent holds the messages of each sender in the order of sending. LiveKit keeps this order
	// among a sender's reliable messages and among its lossy ones, not between the two.
	Sent map[string][]Message
	// Connections counts the joins of each learner.
	Connections map[string]int
}

// Run holds the class: all learners at once, until each has sent all its messages and left (see
// Learner.Leave). With an error, the report lists what was sent before it.
func (c Class) Run(ctx context.Context) (Report, error) {
	c.defaults()
	var wg sync.WaitGroup
	var mu sync.Mutex
	rep := Report{Sent: map[string][]Message{}, Connections: map[string]int{}}
	var errs []error
	for i := range c.Learners {
		wg.Go(func() {
			id := c.Identity(i)
			l := Enroll(id, func(ctx context.Context) (string, string,
				error,
			) {
				return c.Tokens(ctx, id)
			})
			err := c.attend(ctx, i, l)
			mu.Lock()
			defer mu.Unlock()
			rep.Sent[id], rep.Connections[id] = l.Sent(), l.conn
			errs = append(errs, err)
		})
	}
	if c.ServerMessages > 0 {
		wg.Go(func() {
			sent, err := c.serve(ctx)
			mu.Lock()
			defer mu.Unlock()
			rep.Sent[Server] = sent
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return rep, errors.Join(errs...)
}

func (c *Class) defaults() {
	if c.Learners == 0 {
		c.Learners = 3
	}
	if c.Messages == 0 {
		c.Messages = 20
	}
	if len(c.Topics) == 0 {
		c.Topics = []string{"chat", "log"}
	}
	if len(c.Contents) == 0 {
		c.Contents = []Content{JSON, JSON, Text, Text, Hard, Binary, Long, Empty}
	}
	if c.Pause == 0 {
		c.Pause = 50 * time.Millisecond
	}
	if c.Identity == nil {
		c.Identity = func(i int) string { return fmt.Sprintf("learner-%d", i+1) }
	}
}

// attend runs one learner's part of the class.
func (c *Class) attend(ctx context.Context, i int, l *Learner) (err error) {
	r := rand.New(rand.NewPCG(c.Seed, uint64(i)))
	if i >= c.Learners-c.Late {
		// a burst has 3.5 messages on average
		if err := backoff.Sleep(ctx, c.Pause*time.Duration(c.Messages)/10); err != nil {
			return err
		}
	}
	if err := l.Join(ctx); err != nil {
		return err
	}
	burst := 0
	for n := range c.Messages {
		if i < c.Rejoin && n == c.Messages/2 {
			if err := l.Leave(ctx); err != nil {
				return err
			}
			if err := l.Join(ctx); err != nil {
				return err
			}
		}
		if burst == 0 {
			burst = 1 + r.IntN(6)
			if err := backoff.Sleep(ctx, time.Duration(r.Int64N(int64(2*c.Pause)))); err != nil {
				l.Vanish()
				return err
			}
		}
		burst--
		topic := c.Topics[r.IntN(len(c.Topics))]
		payload := Payload(c.Contents[r.IntN(len(c.Contents))], l.Identity, l.Next(), r)
		if err := l.Send(ctx, topic, payload, r.Float64() >= c.Lossy); err != nil {
			l.Vanish()
			return err
		}
	}
	return l.Leave(ctx)
}

func (c *Class) serve(ctx context.Context) ([]Message, error) {
	r := rand.New(rand.NewPCG(c.Seed, 1<<32))
	var sent []Message
	for n := 1; n <= c.ServerMessages; n++ {
		if err := backoff.Sleep(ctx, time.Duration(r.Int64N(int64(2*c.Pause)))); err != nil {
			return sent, err
		}
		m := Message{
			N: n, Topic: "log", Payload: Payload(JSON, "server", n, r), Reliable: true,
			Conn: 1, At: time.Now(),
		}
		if err := c.SendData(ctx, m.Topic, m.Reliable, m.Payload); err != nil {
			return sent, fmt.Errorf("sending message %d through the server API: %w", n, err)
		}
		sent = append(sent, m)
	}
	return sent, nil
}
