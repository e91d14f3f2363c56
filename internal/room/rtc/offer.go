package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pion/ice/v4"
)

// Offer is an offer to send to the server. Its answer comes with the same id, or with none.
type Offer struct {
	SDP string
	ID  uint32 // 1, 2, …
}

// remote is the server's side of the present ICE session.
type remote struct {
	ufrag      string   // of the last answer
	early      []string // candidates that came before the first answer
	candidates int      // how many were added
}

// maxCandidates bounds what a server may make us remember, and ask, of its addresses for one offer.
const maxCandidates = 100

// onCandidate takes one of our candidates, nil after the last. Those that are found after the offer
// was made become events.
func (c *Conn) onCandidate(found ice.Candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case found == nil:
		select {
		case <-c.gathered:
		default:
			close(c.gathered)
		}
	case c.offered:
		ufrag, _, err := c.agent.GetLocalUserCredentials()
		if err != nil {
			return
		}
		if b, err := json.Marshal(initOf(found.Marshal(), ufrag)); err == nil {
			c.post(Event{Kind: Candidate, Candidate: string(b)})
		}
	default:
		c.found = append(c.found, found.Marshal())
	}
}

// Offer makes an offer with our candidates in it: those that are found within gather, or all of
// them if gather is 0. Later ones become events. A second offer restarts ICE, which gives the
// present path up.
func (c *Conn) Offer(ctx context.Context, gather time.Duration) (Offer, error) {
	c.unanswered.Store(false) // answers to earlier offers are ignored
	if c.offerID.Load() > 0 {
		if err := c.agent.Restart("", ""); err != nil {
			return Offer{}, fmt.Errorf("ICE: %w", err)
		}
	}
	gathered := make(chan struct{})
	c.mu.Lock()
	c.found, c.gathered, c.offered = nil, gathered, false
	c.mu.Unlock()
	if err := c.agent.GatherCandidates(); err != nil {
		return Offer{}, fmt.Errorf("ICE: %w", err)
	}
	var limit <-chan time.Time
	if gather > 0 {
		limit = time.After(gather)
	}
	select {
	case <-gathered:
	case <-limit:
	case <-ctx.Done():
		return Offer{}, ctx.Err()
	}
	ufrag, pwd, err := c.agent.GetLocalUserCredentials()
	if err != nil {
		return Offer{}, fmt.Errorf("ICE: %w", err)
	}
	c.mu.Lock()
	found := c.found
	c.offered = true
	c.mu.Unlock()
	complete := false
	select {
	case <-gathered:
		complete = true
	default:
	}
	id := c.offerID.Load() + 1
	text, err := c.description.offer(uint64(id), ufrag, pwd, found, complete)
	if err != nil {
		return Offer{}, err
	}
	c.offerID.Store(id)
	c.unanswered.Store(true)
	return Offer{SDP: text, ID: id}, nil
}

// Answer takes the server's answer to the last offer; id is 0 if the server names none. Answers to
// earlier offers are ignored. An error means that the connection cannot be established.
func (c *Conn) Answer(id uint32, sdp string) error {
	if id != 0 && id != c.offerID.Load() || !c.unanswered.Load() {
		return nil
	}
	a, err := parseAnswer(sdp)
	if err != nil {
		return err
	}
	c.unanswered.Store(false)
	early := c.remote.early
	c.remote = remote{ufrag: a.ufrag}
	if c.answered.Swap(true) {
		if err := c.agent.SetRemoteCredentials(a.ufrag, a.pwd); err != nil {
			return fmt.Errorf("ICE: %w", err)
		}
	} else {
		c.tasks.Go(func() { c.connect(a) })
	}
	for _, x := range a.candidates {
		c.addCandidate(x)
	}
	for _, init := range early {
		c.AddCandidate(init)
	}
	return nil
}

// AddCandidate takes one of the server's candidates, the JSON of an RTCIceCandidateInit. One that
// cannot be used is ignored: the server has others.
func (c *Conn) AddCandidate(init string) {
	if !c.answered.Load() {
		if len(c.remote.early) < maxCandidates {
			c.remote.early = append(c.remote.early, init)
		}
		return
	}
	var ci candidateInit
	if err := json.Unmarshal([]byte(init), &ci); err != nil || ci.Candidate == "" {
		return
	}
	c.addCandidate(ci.Candidate)
}

func (c *Conn) addCandidate(text string) {
	if c.remote.candidates >= maxCandidates {
		return
	}
	c.remote.candidates++
	if x, err := parseCandidate(text, c.remote.ufrag); err == nil {
		_ = c.agent.AddRemoteCandidate(x)
	}
}
