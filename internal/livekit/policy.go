package livekit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/session"
)

// CheckPrefix begins the names of the rooms that `textegress config check` creates. They are never
// recorded.
const CheckPrefix = "textegress-check-"

// Policy decides which rooms are recorded: the patterns of RECORD_ROOMS, unless the room's creator
// says otherwise in the room's metadata.
type Policy struct {
	patterns []roomPattern
}

type roomPattern struct {
	pattern.Pattern

	exclude bool
}

// NewPolicy returns the policy for a list of patterns, each a name or the beginning of one followed
// by a star; an exclamation mark before it excludes. The first pattern that matches decides. A room
// that matches none is not recorded. The error does not quote the pattern.
func NewPolicy(patterns []string) (*Policy, error) {
	p := &Policy{}
	for i, entry := range patterns {
		entry, exclude := strings.CutPrefix(entry, "!")
		parsed, err := pattern.Parse(entry)
		if err != nil {
			return nil, fmt.Errorf("pattern %d of RECORD_ROOMS: %w", i+1, err)
		}
		p.patterns = append(p.patterns, roomPattern{parsed, exclude})
	}
	return p, nil
}

// Verdict is the decision about a room.
type Verdict struct {
	Record bool
	// OptedOut is true if the room's metadata, not a pattern, is why it is not recorded. A
	// recording that has begun then ends.
	OptedOut bool
	Limits   session.Limits // what of the room is recorded
	// Problem says what is wrong with the metadata, without quoting it. Such a room is opted out:
	// its creator asks for something that we do not understand, and text that was recorded against
	// a wish cannot be taken back.
	Problem error
}

// metadataKey is the key of our object in the metadata of a room.
const metadataKey = "textegress"

// wish is that object.
type wish struct {
	Record *bool    `json:"record"`
	Topics []string `json:"topics"`
}

// Verdict decides about a room.
func (p *Policy) Verdict(r Room) Verdict {
	if strings.HasPrefix(r.Name, CheckPrefix) {
		return Verdict{}
	}
	w, err := wishOf(r.Metadata)
	if err != nil {
		return Verdict{OptedOut: true, Problem: err}
	}
	v := Verdict{Record: p.matches(r.Name), Limits: session.Limits{Topics: w.Topics}}
	if w.Record != nil {
		v.Record, v.OptedOut = *w.Record, !*w.Record
	}
	if !v.Record {
		v.Limits = session.Limits{}
	}
	return v
}

func (p *Policy) matches(name string) bool {
	for _, pattern := range p.patterns {
		if pattern.Match(name) {
			return !pattern.exclude
		}
	}
	return false
}

// wishOf reads our object from the metadata of a room. Metadata that is no JSON object, or has no
// such key, expresses no wish.
func wishOf(metadata string) (wish, error) {
	// most metadata is not ours, and may be long
	if !strings.Contains(metadata, metadataKey) {
		return wish{}, nil
	}
	var object map[string]json.RawMessage
	if !json.Valid([]byte(metadata)) { // it only mentions the word
		return wish{}, nil
	}
	if err := json.Unmarshal([]byte(metadata), &object); err != nil {
		return wish{}, nil //nolint:nilerr // valid JSON that is no object is not meant for us
	}
	if object[metadataKey] == nil {
		return wish{}, nil
	}
	var w wish
	d := json.NewDecoder(bytes.NewReader(object[metadataKey]))
	d.DisallowUnknownFields() // "recording": false must not be taken for no wish
	if d.Decode(&w) != nil {
		return wish{}, errors.New(`"textegress" in the room's metadata must be an object with ` +
			`"record" (true or false) and "topics" (a list of texts), and nothing else`)
	}
	if w.Topics != nil && len(w.Topics) == 0 {
		return wish{}, errors.New(`"topics" in the room's metadata is an empty list: leave it ` +
			`out to record all topics, or set "record" to false`)
	}
	for i, topic := range w.Topics {
		if _, err := pattern.Parse(topic); err != nil {
			return wish{}, fmt.Errorf("topic %d in the room's metadata: %w", i+1, err)
		}
	}
	return w, nil
}
