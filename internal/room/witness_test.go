package room

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// witness is a Handler that remembers everything.
type witness struct {
	mu      sync.Mutex
	info    *Info
	packets map[Channel][]string
	events  []Event
	order   []string // "joined", "packet", event types

	refuse   error
	onJoined func()
	onPacket func(Channel, []byte)
	onEvent  func(Event)
}

func (w *witness) Joined(i Info) error {
	if w.onJoined != nil {
		w.onJoined()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.info = &i
	w.order = append(w.order, "joined")
	return w.refuse
}

func (w *witness) Packet(ch Channel, at time.Time, b []byte) {
	if w.onPacket != nil {
		w.onPacket(ch, b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.packets == nil {
		w.packets = map[Channel][]string{}
	}
	w.packets[ch] = append(w.packets[ch], string(b))
	w.order = append(w.order, "packet")
}

func (w *witness) Event(e Event) {
	if w.onEvent != nil {
		w.onEvent(e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	w.order = append(w.order, e.Type.String())
}

func (w *witness) received(ch Channel) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets[ch])
}

// seen lists the events, each as "type sid".
func (w *witness) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.events {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", e.Type, e.Participant.SID)))
	}
	return out
}

func (w *witness) allEvents() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// calls lists "joined", "packet" and event types in their order.
func (w *witness) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}

func (w *witness) joinedWith() Info {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.info
}

func (w *witness) saw(what string) bool { return slices.Contains(w.seen(), what) }
