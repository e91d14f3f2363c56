package room

import "slices"

// state is that of a Conn; see the package comment for what leads from one to another.
type state uint8

const (
	stateJoining   state = iota + 1 // websocket open, data channels not yet
	stateConnected                  // websocket and data channels open
	stateResuming                   // data channels open, websocket lost
	stateClosing                    // WebRTC failed: the reason may still come over the websocket
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
