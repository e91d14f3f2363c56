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

// CheckPrefix is the prefix of the names of rooms that `textegress config check` creates. They are
// never recorded.
const CheckPrefix = "textegress-check-"

// Policy decides which rooms are recorded: by the patterns of RECORD_ROOMS, unless the metadata of
// the room overrides them.
type Policy struct {
	patterns []roomPattern
}

type roomPattern struct {
	pattern.Pattern

	exclude bool
}

// NewPolicy returns the policy for a list of patterns. Each is a name, or a prefix followed by a
// star; a leading exclamation mark excludes. The first pattern that matches decides. A room that
// matches none is not recorded. The error does not quote the pattern.
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
	// OptedOut is true if the room's metadata, not a pattern, prevents the recording. A recording
	// in progress then ends.
	OptedOut bool
	Limits   session.Limits // what of the room is recorded
	// Problem describes what is wrong with the metadata, without quoting it. Such a room is opted
	// out: its creator's request is unclear, and a recording against it could not be undone.
	Problem error
}

// metadataKey is the key of our object in the metadata of a room.
const metadataKey = "textegress"

// roomOptions is the object under metadataKey: the request of the room's creator.
type roomOptions struct {
	Record *bool    `json:"record"`
	Topics []string `json:"topics"`
}

// Verdict decides about a room.
func (p *Policy) Verdict(r Room) Verdict {
	if strings.HasPrefix(r.Name, CheckPrefix) {
		return Verdict{}
	}
	o, err := parseOptions(r.Metadata)
	if err != nil {
		return Verdict{OptedOut: true, Problem: err}
	}
	v := Verdict{Record: p.matches(r.Name), Limits: session.Limits{Topics: o.Topics}}
	if o.Record != nil {
		v.Record, v.OptedOut = *o.Record, !*o.Record
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

// parseOptions reads the options from the metadata of a room. Metadata that is not a JSON object,
// or lacks the key, yields the zero value.
func parseOptions(metadata string) (roomOptions, error) {
	// most metadata has other purposes, and may be long
	if !strings.Contains(metadata, metadataKey) {
		return roomOptions{}, nil
	}
	var object map[string]json.RawMessage
	if !json.Valid([]byte(metadata)) { // it only contains the word
		return roomOptions{}, nil
	}
	if err := json.Unmarshal([]byte(metadata), &object); err != nil {
		return roomOptions{}, nil //nolint:nilerr // other JSON values have other purposes
	}
	if object[metadataKey] == nil {
		return roomOptions{}, nil
	}
	var o roomOptions
	d := json.NewDecoder(bytes.NewReader(object[metadataKey]))
	d.DisallowUnknownFields() // a misspelt key, such as "recording", must not be ignored
	if d.Decode(&o) != nil {
		return roomOptions{}, errors.New(`"textegress" in the room's metadata must be an object ` +
			`with "record" (true or false) and "topics" (a list of texts), and nothing else`)
	}
	if o.Topics != nil && len(o.Topics) == 0 {
		return roomOptions{}, errors.New(`"topics" in the room's metadata is an empty list: leave ` +
			`it out to record all topics, or set "record" to false`)
	}
	for i, topic := range o.Topics {
		if _, err := pattern.Parse(topic); err != nil {
			return roomOptions{}, fmt.Errorf("topic %d in the room's metadata: %w", i+1, err)
		}
	}
	return o, nil
}
