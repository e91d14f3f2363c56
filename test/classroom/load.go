package classroom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"

	"github.com/syncflow/textegress/internal/backoff"
)

// Load is a plan for many senders. It can be passed to another process as JSON.
type Load struct {
	URL       string   `json:"url"` // ws://…
	APIKey    string   `json:"api_key"`
	APISecret string   `json:"api_secret"`
	Rooms     []string `json:"rooms"`
	Senders   int      `json:"senders"`  // in each room
	Rate      float64  `json:"rate"`     // messages a second of each sender; 0: as fast as possible
	Size      int      `json:"size"`     // bytes of a payload, at least about 80; see LoadPayload
	Messages  int      `json:"messages"` // of each sender; 0: for Duration
	Seconds   float64  `json:"seconds"`  // length if Messages is 0
	Lossy     bool     `json:"lossy,omitempty"`
	Topic     string   `json:"topic,omitempty"`
	// FileBytes is the size of one file that each sender sends as a byte stream, instead of
	// messages.
	FileBytes int64 `json:"file_bytes,omitempty"`
	// DrainSeconds bounds the time that the senders' buffers take to empty after the last message;
	// 0: no limit.
	DrainSeconds float64 `json:"drain_seconds,omitempty"`
}

// LoadResult states what was sent.
type LoadResult struct {
	StartedUnixNS int64 `json:"started_unix_ns"` // when all had joined
	// when all had handed over their last message
	SentUnixNS    int64        `json:"sent_unix_ns"`
	DrainedUnixNS int64        `json:"drained_unix_ns"` // when all buffers were empty
	Senders       []SenderLoad `json:"senders"`
}

// SenderLoad states what one sender sent. Its messages are numbered 1 to Messages without gaps.
type SenderLoad struct {
	Room     string `json:"room"`
	Identity string `json:"identity"`
	Topic    string `json:"topic"`
	Reliable bool   `json:"reliable"`
	Messages int    `json:"messages"`
	Bytes    int64  `json:"bytes"`            // of payload
	SHA256   string `json:"sha256,omitempty"` // of a file, in hex
	// Drained is true if LiveKit had acknowledged everything before the sender left. Otherwise part
	// of it may never have been sent.
	Drained bool   `json:"drained"`
	Error   string `json:"error,omitempty"` // if set, Messages is the number of attempts
}

// LoadPayload is the payload of a load message: a JSON object, padded to exactly Size bytes if it
// is not longer.
type LoadPayload struct {
	N      int    `json:"n"`
	Sender string `json:"sender"`
	UnixNS int64  `json:"unix_ns"` // time at which it was passed to the SDK, for measuring latency
	Pad    string `json:"pad"`
}

// Run joins all senders (eight at a time), calls joined, which may block, sends, drains, stays for
// Linger and leaves. The error concerns joining; errors of a sender are in the result.
func (p Load) Run(ctx context.Context, joined func()) (LoadResult, error) {
	if p.FileBytes == 0 && p.Messages == 0 && (p.Rate <= 0 || p.Seconds <= 0) {
		return LoadResult{}, errors.New("load: a number of messages, a rate with seconds, or the " +
			"size of a file is required")
	}
	all, err := p.joinAll(ctx)
	defer func() {
		for _, l := range all {
			if l != nil && l.room != nil {
				l.Vanish()
			}
		}
	}()
	if err != nil {
		return LoadResult{}, err
	}
	if joined != nil {
		joined()
	}
	res := LoadResult{StartedUnixNS: time.Now().UnixNano(), Senders: make([]SenderLoad, len(all))}
	each(len(all), len(all), func(i int) {
		s := SenderLoad{
			Room: p.Rooms[i/p.Senders], Identity: all[i].Identity, Topic: p.Topic,
			Reliable: !p.Lossy,
		}
		send := p.send
		if p.FileBytes > 0 {
			send = func(ctx context.Context, i, _ int, l *Learner, s *SenderLoad) error {
				return p.sendFile(ctx, i, l, s)
			}
		}
		if err := send(ctx, i, len(all), all[i], &s); err != nil {
			s.Error = err.Error()
		}
		res.Senders[i] = s
	})
	res.SentUnixNS = time.Now().UnixNano()
	within, cancel := ctx, context.CancelFunc(func() {})
	if p.DrainSeconds > 0 {
		within, cancel = context.WithTimeout(ctx,
			time.Duration(p.DrainSeconds*float64(time.Second)))
	}
	defer cancel()
	each(len(all), len(all), func(i int) {
		err := all[i].Drain(within)
		res.Senders[i].Drained = err == nil
		if err != nil && res.Senders[i].Error == "" {
			res.Senders[i].Error = err.Error()
		}
	})
	res.DrainedUnixNS = time.Now().UnixNano()
	err = backoff.Sleep(ctx, Linger)
	for i, l := range all {
		if l.Interrupted() {
			res.Senders[i].Drained = false
			if res.Senders[i].Error == "" {
				res.Senders[i].Error = ErrInterrupted.Error()
			}
		}
	}
	return res, err
}

func (p Load) joinAll(ctx context.Context) ([]*Learner, error) {
	all := make([]*Learner, len(p.Rooms)*p.Senders)
	errs := make([]error, len(all))
	each(len(all), 8, func(i int) {
		room, id := p.Rooms[i/p.Senders], fmt.Sprintf("load-%d", i%p.Senders+1)
		all[i] = Enroll(id, func(context.Context) (string, string, error) {
			t, err := auth.NewAccessToken(p.APIKey, p.APISecret).SetIdentity(id).
				SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: room}).SetValidFor(
				6 * time.Hour).ToJWT()
			return p.URL, t, err
		})
		errs[i] = all[i].Join(ctx)
	})
	return all, errors.Join(errs...)
}

// send keeps the average rate: a delayed sender catches up. The senders start at different offsets.
// Without a rate, a sender waits only for its own buffer.
func (p Load) send(ctx context.Context, i, of int, l *Learner, s *SenderLoad) error {
	if p.Rate <= 0 {
		for n := 1; n <= p.Messages; n++ {
			b := p.payload(l.Identity, n)
			if err := l.publish(ctx, p.Topic, b, !p.Lossy); err != nil {
				return err
			}
			s.Messages, s.Bytes = n, s.Bytes+int64(len(b))
		}
		return nil
	}
	step := time.Duration(float64(time.Second) / p.Rate)
	start := time.Now().Add(step * time.Duration(i) / time.Duration(of))
	for n := 1; ; n++ {
		at := start.Add(time.Duration(float64(n-1) / p.Rate * float64(time.Second)))
		if p.Messages > 0 && n > p.Messages || p.Messages == 0 &&
			at.Sub(start).Seconds() >= p.Seconds {
			return nil
		}
		if err := backoff.Sleep(ctx, time.Until(at)); err != nil {
			return err
		}
		b := p.payload(l.Identity, n)
		if err := l.publish(ctx, p.Topic, b, !p.Lossy); err != nil {
			return err
		}
		s.Messages, s.Bytes = n, s.Bytes+int64(len(b))
	}
}

func (p Load) payload(identity string, n int) []byte {
	m := LoadPayload{N: n, Sender: identity, UnixNS: time.Now().UnixNano()}
	b, _ := json.Marshal(m) // strings and numbers always marshal
	if pad := p.Size - len(b); pad > 0 {
		m.Pad = strings.Repeat("x", pad)
		b, _ = json.Marshal(m)
	}
	return b
}

// each calls f(0), f(1), …, f(n-1), at most k at a time.
func each(n, k int, f func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, k)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() { defer func() { <-slots }(); f(i) })
	}
	wg.Wait()
}
