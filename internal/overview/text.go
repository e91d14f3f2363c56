package overview

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// shown are the keys of a line of events.jsonl that remain without text. The rest is what a
// participant sent, or may contain it. A key that is not listed is left out, so that a later
// version of the lines reveals nothing new.
var shown = map[string][]string{
	"": {
		"n", "kind", "time", "unix_ns", "identity", "participant_sid", "topic", "reliable",
		"sequence", "epoch", "possible_duplicate", "withheld", "field", "field_name",
		"destination_identities", "copy_of",
	},
	"user":          {"id", "start_time", "end_time"},
	"chat":          {"id", "timestamp_ms", "edit_timestamp_ms", "deleted", "generated"},
	"transcription": {"participant_identity", "track_id"},
	"rpc":           {"type", "id", "method", "timeout_ms", "version", "compressed"},
	"stream": {
		"id", "mime_type", "total_length", "length_unit", "complete", "incomplete", "sent_ms",
		"started_unix_ns", "size", "operation", "version", "reply_to", "attached_stream_ids",
		"generated", "inline", "compression", "encoding", "chunks", "chunks_missing",
		"chunks_ignored", "first_chunk", "continued_by",
	},
	"track": {
		"sid", "handle", "sequence", "frame", "start", "final", "timestamp", "user_timestamp",
		"participant_sid",
	},
	"encryption": {"type", "key_index", "decrypted", "reason"},
	"event": {
		"identity", "participant_sid", "name", "participant_kind", "track_sid", "handle",
		"room_sid", "server_version", "region", "room_created_unix_ms", "clock_offset_ms",
		"cause", "since_unix_ns", "offset_ns", "before_unix_ns", "after_unix_ns", "at_least",
		"egress_id", "instance", "selection", "dropped", "reason", "status", "source",
		"announced_unix_ns", "part", "previous", "segment", "offset", "bytes", "frames_missing",
	},
}

// leftOut marks a line from which something was left out.
const leftOut = "left_out"

// WithoutText returns a line of events.jsonl without what participants sent: payloads, names of
// files, transcripts, metadata and attributes. Who sent something when, on which topic, remains. A
// line from which something is left out has the key left_out with the value true.
func WithoutText(line []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(line, &all); err != nil {
		return nil, fmt.Errorf("a line is not a JSON object: %w", withoutContent(err))
	}
	kept := make(map[string]json.RawMessage, len(all)+1)
	keep(kept, all, shown[""])
	removed := false
	for key, value := range all {
		if _, ok := kept[key]; ok {
			continue
		}
		keys, ok := shown[key]
		var parts map[string]json.RawMessage
		if !ok || json.Unmarshal(value, &parts) != nil {
			removed = true
			continue
		}
		some := make(map[string]json.RawMessage, len(parts))
		keep(some, parts, keys)
		removed = removed || len(some) < len(parts)
		b, err := encode(some)
		if err != nil {
			return nil, err
		}
		kept[key] = b
	}
	if removed {
		kept[leftOut] = json.RawMessage("true")
	}
	return encode(kept)
}

// keep copies the values of keys.
func keep(to, from map[string]json.RawMessage, keys []string) {
	for _, k := range keys {
		if v, ok := from[k]; ok {
			to[k] = v
		}
	}
}

func encode(v map[string]json.RawMessage) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a line: %w", withoutContent(err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// withoutContent removes what an error of encoding/json quotes of its input.
func withoutContent(err error) error { return fmt.Errorf("%T", err) }
