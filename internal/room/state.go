package room

import "slices"

// state is the state of a Conn. The package comment describes the transitions.
type state uint8

const (
	stateJoining   state = iota + 1 // websocket open, data channels not yet
	stateConnected                  // websocket and data channels open
	stateResuming                   // data channels open, websocket lost
	stateClosing                    // WebRTC failed; the reason may still arrive over the websocket
	stateEnded
)

func (s state) String() string {
	return [...]string{"", "joining", "connected", "resuming", "closing", "ended"}[s]
}

// transitions lists the states that can follow each state.
var transitions = map[state][]state{
	stateJoining:   {stateConnected, stateClosing, stateEnded},
	stateConnected: {stateResuming, stateClosing, stateEnded},
	stateResuming:  {stateConnected, stateEnded},
	stateClosing:   {stateEnded},
}

// enter changes the state. It belongs to the goroutine run.
func (c *Conn) enter(next state) {
	if !slices.Contains(transitions[c.state], next) {
		c.log.Error("room: a transition that should not occur", "from", c.state.String(),
			"to", next.String())
	}
	c.state = next
}
