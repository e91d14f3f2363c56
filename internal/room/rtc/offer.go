package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pion/ice/v4"
)

// Offer is an offer to send to the server. The answer has the same id, or none.
type Offer struct {
	SDP string
	ID  uint32 // 1, 2, …
}

// remote is the server's side of the current ICE session.
type remote struct {
	ufrag      string   // ufrag of the last answer
	early      []string // candidates received before the first answer
	candidates int      // number of candidates added
}

// maxCandidates bounds the number of a server's candidates that are kept and tried for one offer.
const maxCandidates = 100

// onCandidate handles a local candidate, or nil after the last one. Candidates found after the
// offer become events.
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

// Offer makes an offer with the local candidates that are found within gather, or with all of them
// if gather is 0. Later candidates become events. A second offer restarts ICE, which abandons the
// current path.
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

// Answer handles the server's answer to the last offer. id is 0 if the answer has none. Answers to
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

// AddCandidate adds one of the server's candidates, the JSON of an RTCIceCandidateInit. An unusable
// candidate is ignored, because the server has others.
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
