package spool

import (
	"encoding/json"
	"fmt"
)

// EncodeEvent returns the payload of a frame of type FrameEvent.
func EncodeEvent(ev Event) ([]byte, error) { return json.Marshal(ev) }

// DecodeEvent reads the payload of a frame of type FrameEvent. Keys that it does
// not know are ignored.
func DecodeEvent(payload []byte) (Event, error) {
	var ev Event
	if err := json.Unmarshal(payload, &ev); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return ev, nil
}
