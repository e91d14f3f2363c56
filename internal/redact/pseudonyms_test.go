package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/redact/redacttest"
	"github.com/syncflow/textegress/segment"
)

// fate says what becomes of a field under pseudonyms.
type fate string

const (
	kept     fate = "kept"
	replaced fate = "replaced" // by a pseudonym, or what stands for an id
	checked  fate = "checked"  // kept where it has a known form
	dropped  fate = "dropped"
	stated   fate = "stated" // says what was left out
	nested   fate = "nested" // see its own fields
)

// fates classifies every field of everything that is delivered as JSON. Who adds a field must
// decide here, and in Pseudonymizer.
var fates = map[string]map[string]fate{
	"Message": {
		"N": kept, "Kind": kept, "Time": kept, "UnixNS": kept, "Identity": replaced,
		"ParticipantSID": kept, "Topic": kept, "Reliable": kept,
		"Sequence": kept, "Epoch": kept, "PossibleDuplicate": kept, "Text": kept, "Base64": kept,
		"Withheld": stated, "Field": kept,
		"FieldName": kept, "User": nested, "Chat": nested, "Transcription": nested, "RPC": nested,
		"SIPDTMF": nested, "Stream": nested, "Track": nested,
		"Event": nested, "DestinationIdentities": replaced, "Encryption": nested, "CopyOf": kept,
	},
	"UserInfo": {"ID": replaced, "Nonce": dropped, "StartTime": kept, "EndTime": kept},
	"ChatInfo": {
		"ID": replaced, "TimestampMS": kept, "EditTimestampMS": kept,
		"Deleted": kept, "Generated": kept,
	},
	"TranscriptionInfo": {"ParticipantIdentity": replaced, "TrackID": replaced, "Segments": nested},
	"TranscriptionSegment": {
		"ID": replaced, "Text": kept, "StartTime": kept, "EndTime": kept, "Final": kept,
		"Language": checked,
	},
	"RPCInfo": {
		"Type": kept, "ID": replaced, "Method": kept, "TimeoutMS": kept,
		"Version": kept, "Compressed": kept, "Error": nested,
	},
	"RPCError":       {"Code": kept, "Message": kept, "Data": kept},
	"SIPDTMFInfo":    {"Code": kept, "Digit": checked},
	"EncryptionInfo": {"Type": kept, "KeyIndex": kept, "Decrypted": kept, "Reason": kept},
	"StreamInfo": {
		"ID": replaced, "MIMEType": checked, "Name": dropped, "TotalLength": kept,
		"Attributes": dropped, "Complete": kept, "Incomplete": kept,
		"SentMS": kept, "StartedUnixNS": kept, "Size": kept, "File": dropped, "Operation": kept,
		"Version": kept, "ReplyTo": replaced,
		"AttachedStreamIDs": replaced, "Generated": kept, "TrailerReason": dropped, "Inline": kept,
		"Compression": kept, "Encoding": kept,
		"Chunks": kept, "ChunksMissing": kept, "ChunksIgnored": kept, "LengthUnit": kept,
		"FirstChunk": kept, "ContinuedBy": kept,
	},
	"Event": {
		"Kind": kept, "Identity": replaced, "ParticipantSID": kept, "Name": dropped,
		"Metadata": dropped, "Attributes": dropped,
		"ParticipantKind": kept, "RoomSID": kept, "RoomMetadata": dropped, "ServerVersion": kept,
		"Region": kept, "RoomCreatedUnixMS": kept,
		"ClockOffsetMS": kept, "Cause": kept, "SinceUnixNS": kept, "EgressID": kept,
		"Instance": kept, "Selection": nested, "Dropped": nested,
		"TrackSID": kept, "Handle": kept, "Lines": dropped, "Late": dropped, "Reason": kept,
		"Status": kept, "Source": kept, "AnnouncedUnixNS": kept, "Part": kept,
		"Previous": kept, "Segment": kept, "Offset": kept, "Bytes": kept, "FramesMissing": kept,
		"OffsetNS": kept, "BeforeUnixNS": kept, "AfterUnixNS": kept, "AtLeast": kept,
	},
	"TrackInfo": {
		"SID": kept, "Handle": kept, "Sequence": kept, "Frame": kept, "Start": kept, "Final": kept,
		"Timestamp": kept, "UserTimestamp": kept,
		"ParticipantSID": dropped, "Extensions": dropped,
	},
	"TrackExtension": {"ID": dropped, "Data": dropped},
	"LateLines":      {"Index": dropped, "Lines": dropped},
	"SelectionRules": {
		"SinceUnixNS": kept, "TopicsAllow": kept, "TopicsDeny": kept, "IdentitiesAllow": dropped,
		"IdentitiesDeny":       dropped,
		"IdentitiesAllowCount": stated, "IdentitiesDenyCount": stated, "EncryptedKept": kept,
		"ExcludeByAttribute": kept, "Excluded": kept,
	},
	"Dropped": {"Reason": kept, "Packets": kept, "Bytes": kept},
	"Manifest": {
		"FormatVersion": kept, "EgressID": kept, "Status": kept, "Reason": kept, "Exporter": kept,
		"Views":    kept,
		"Revision": kept, "Project": nested,
		"Session": nested, "Part": kept, "Previous": kept, "StartedAt": kept, "StartedUnixNS": kept,
		"EndedAt": kept, "EndedUnixNS": kept,
		"Instance": kept, "Merged": dropped, "ServerVersions": kept, "Counts": nested,
		"Completeness": nested, "Selection": nested,
		"Forgotten": nested, "Pseudonyms": stated, "LeftOut": stated, "Objects": nested,
	},
	"Project": {"ID": kept, "Name": kept}, "Session": {
		"ID": kept, "RoomName": kept,
		"RoomSIDs": kept,
	},
	"Counts": {
		"Packets": kept, "Messages": kept, "Bytes": kept, "DecryptedPackets": kept,
		"ByKind": kept, "Participants": kept,
	},
	"Selection": {"Rules": nested, "Dropped": nested, "AtLeast": kept},
	"Forgotten": {"Frames": kept, "Lines": kept},
	"Object":    {"Key": kept, "Size": kept, "SHA256": kept, "ContentType": kept, "Messages": kept},
	"Completeness": {
		"Join": nested, "Outages": nested, "UndecodablePackets": kept, "UndecryptablePackets": kept,
		"CorruptRanges": kept, "CorruptBytes": kept,
		"FramesMissing": kept, "Tail": kept, "Suspect": kept, "Connections": nested,
		"ConnectionsOmitted": nested, "Streams": nested,
		"PossibleDuplicates": kept, "ClockSteps": nested, "ClockStepsOmitted": kept,
	},
	// Those whose fields are all kept are copied as a whole.
	"Join": {"AnnouncedUnixNS": kept, "JoinedUnixNS": kept, "RoomCreatedUnixMS": kept},
	"ClockStep": {
		"Index": kept, "OffsetNS": kept, "BeforeUnixNS": kept, "AfterUnixNS": kept,
		"AtLeast": kept, "EgressID": kept,
	},
	"Outage": {
		"Cause": kept, "StartedUnixNS": kept, "EndedUnixNS": kept, "StartIndex": kept,
		"EndIndex": kept, "Connections": nested,
		"ConnectionsOmitted": kept,
	},
	"OutageNeighbour":    {"ParticipantSID": kept, "LastBefore": kept, "FirstAfter": kept},
	"ConnectionsOmitted": {"Packets": kept},
	"Connection": {
		"ParticipantSID": kept, "Identity": replaced, "Packets": kept, "Reliable": kept,
		"Unsequenced": kept, "Lossy": kept, "DataTrack": kept,
		"Undecodable": kept, "Undecryptable": kept, "StreamsComplete": kept,
		"StreamsIncomplete": kept, "Sequence": nested, "Tail": kept,
	},
	"Sequence": {
		"First": kept, "Last": kept, "Received": kept, "Contiguous": kept, "BeforeFirst": nested,
		"Gaps": nested, "GapCount": kept, "SelectionGaps": kept,
		"MissingNumbers": kept, "UnexplainedGaps": kept, "UnexplainedNumbers": kept,
		"Duplicates": kept, "Reordered": kept, "Unjudged": kept,
	},
	"Gap": {
		"First": kept, "Last": kept, "AfterIndex": kept, "BeforeIndex": kept, "Explained": kept,
		"FirstOutage": kept, "LastOutage": kept,
		"Damage": kept, "BeforeJoin": kept, "Selection": kept,
	},
	"Streams": {"Complete": kept, "Incomplete": kept, "LatePackets": kept, "List": nested},
	"IncompleteStream": {
		"N": kept, "ID": replaced, "Kind": kept, "Identity": replaced, "ParticipantSID": kept,
		"TotalLength": kept, "Incomplete": kept,
	},
	"MergedRecording": {
		"EgressID": dropped, "Instance": dropped, "Part": dropped, "Status": dropped,
		"Reason": dropped, "StartedUnixNS": dropped,
		"EndedUnixNS": dropped, "ClockOffsetNS": dropped, "Epochs": dropped, "Packets": dropped,
		"Only": dropped, "PossibleDuplicates": dropped,
		"Outages": dropped, "Merged": dropped,
	},
	"Metadata": {
		"RoomName": kept, "Topic": kept, "StartedAt": kept, "EndedAt": kept, "EgressID": kept,
		"Status": kept, "Reason": kept, "SessionID": kept,
		"ProjectID": kept, "ProjectName": kept, "RoomSIDs": kept, "Part": kept, "Previous": kept,
		"StartedUnixNS": kept, "EndedUnixNS": kept,
	},
}

// TestPseudonyms_EveryFieldIsClassified holds the table above to the types, and [Pseudonymizer] to
// the table.
func TestPseudonyms_EveryFieldIsClassified(t *testing.T) {
	names := &redacttest.Pseudonyms{}
	types := map[string]bool{}
	var m textegress.Message
	fill(t, reflect.ValueOf(&m).Elem(), new(int64), 0)
	m.Kind = textegress.KindData
	compare(t, types, reflect.ValueOf(m), reflect.ValueOf(NewPseudonymizer(names).Message(m)))
	var manifest textegress.Manifest
	fill(t, reflect.ValueOf(&manifest).Elem(), new(int64), 0)
	compare(t, types, reflect.ValueOf(manifest),
		reflect.ValueOf(NewPseudonymizer(names).Manifest(manifest)))
	compare(t, types, reflect.ValueOf(textegress.Metadata{}),
		reflect.ValueOf(textegress.Metadata{}))
	// of fields that are dropped
	for _, below := range []any{
		textegress.MergedRecording{},
		segment.LateLines{},
		textegress.TrackExtension{},
	} {
		compare(t, types, reflect.ValueOf(below), reflect.Value{})
	}
	for name := range fates {
		if !types[name] {
			t.Errorf("there is no type %s any more", name)
		}
	}
	for _, k := range []textegress.Kind{
		textegress.KindUnknown, textegress.KindEncrypted,
		"of a later version",
	} {
		out := NewPseudonymizer(names).Message(textegress.Message{
			Kind: k, Base64: []byte("SECRET"),
			Event: m.Event,
		})
		if out.Base64 != nil || out.Text != nil || out.Withheld != 6 {
			t.Errorf("kind %s: %+v", k, out)
		}
	}
}

// fill gives every field a value of its own.
func fill(t *testing.T, v reflect.Value, n *int64, depth int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("SECRET %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1000 + *n)
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1000 + *n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n, depth)
	case reflect.Slice:
		if depth > 8 {
			return // a type that holds itself
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), n, depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n, depth)
		fill(t, value, n, depth)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() ||
			v.Type() == reflect.TypeFor[textegress.Timestamp]() {
			return
		}
		for _, field := range v.Fields() {
			fill(t, field, n, depth+1)
		}
	default:
		t.Fatalf("a field of kind %s", v.Kind())
	}
}

// mark puts secret into every string of the fields that are not delivered as they are.
func mark(v reflect.Value, secret string, hidden bool) {
	switch v.Kind() {
	case reflect.String:
		if v.SetString("harmless"); hidden {
			v.SetString(secret)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			mark(v.Elem(), secret, hidden)
		}
	case reflect.Slice:
		for i := range v.Len() {
			mark(v.Index(i), secret, hidden)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		mark(key, secret, hidden)
		mark(value, secret, hidden)
		v.Clear()
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for field, value := range v.Fields() {
			switch fates[v.Type().Name()][field.Name] {
			case replaced, checked, dropped:
				mark(value, secret, true)
			default:
				mark(value, secret, hidden)
			}
		}
	}
}

// compare compares a value with what is delivered of it; out that is not valid is not looked at.
func compare(t *testing.T, types map[string]bool, in, out reflect.Value) {
	t.Helper()
	switch in.Kind() {
	case reflect.Pointer:
		if out.IsValid() && out.IsNil() != in.IsNil() {
			t.Errorf("%s is nil", in.Type())
			return
		}
		if !in.IsNil() {
			compare(t, types, in.Elem(), out.Elem())
		}
		return
	case reflect.Slice:
		if out.Len() != in.Len() {
			t.Errorf("%s has %d elements instead of %d", in.Type(), out.Len(), in.Len())
			return
		}
		for i := range in.Len() {
			compare(t, types, in.Index(i), out.Index(i))
		}
		return
	}
	name := in.Type().Name()
	types[name] = true
	for i := range in.NumField() {
		field := in.Type().Field(i).Name
		f, ok := fates[name][field]
		if !ok {
			t.Errorf("%s.%s is new: decide what becomes of it under pseudonyms, here and in "+
				"Pseudonymizer",
				name, field)
			continue
		}
		if !out.IsValid() || in.IsZero() {
			continue
		}
		a, b := in.Field(i), out.Field(i)
		text := fmt.Sprintf("%+v", b.Interface())
		switch {
		case f == nested:
			compare(t, types, a, b)
		case f == kept && !reflect.DeepEqual(a.Interface(), b.Interface()):
			t.Errorf("%s.%s is not kept: %v", name, field, text)
		case f == dropped && !b.IsZero(), (f == replaced || f == checked) &&
			strings.Contains(text, "SECRET"), f == stated &&
			reflect.DeepEqual(a.Interface(), b.Interface()) && field != "Pseudonyms":
			t.Errorf("%s.%s is delivered: %v", name, field, text)
		case f == replaced && !strings.Contains(text, "P-") && !strings.Contains(text, "I-"):
			t.Errorf("%s.%s is not replaced: %v", name, field, text)
		}
	}
	for field := range fates[name] {
		if _, ok := in.Type().FieldByName(field); !ok {
			t.Errorf("%s has no field %s any more", name, field)
		}
	}
}

// TestPseudonymizer_Property: whatever is in the fields that are replaced, dropped or kept only in
// known forms, none of it is delivered, in messages and manifests of every kind; and everybody who
// was replaced is on the list.
func TestPseudonymizer_Property(t *testing.T) {
	kinds := []textegress.Kind{
		textegress.KindData, textegress.KindChat, textegress.KindTranscription,
		textegress.KindTextStream, textegress.KindByteStream, textegress.KindRPC,
		textegress.KindSIPDTMF, textegress.KindDataTrack, textegress.KindJoined,
		textegress.KindParticipantJoined, textegress.KindDataTrackSubscribed,
		textegress.KindUnknown, textegress.KindEncrypted, "of a later version",
	}
	property := func(seed int64, secret string, kind uint8, decrypted bool) bool {
		secret = "SECRET " + strings.ToValidUTF8(secret, "")
		names := &redacttest.Pseudonyms{}
		p := NewPseudonymizer(names)
		var m textegress.Message
		n := seed % 1000
		fill(t, reflect.ValueOf(&m).Elem(), &n, 0)
		var manifest textegress.Manifest
		fill(t, reflect.ValueOf(&manifest).Elem(), &n, 0)
		mark(reflect.ValueOf(&m).Elem(), secret, false)
		mark(reflect.ValueOf(&manifest).Elem(), secret, false)
		m.Kind, m.Encryption.Decrypted = kinds[int(kind)%len(kinds)], decrypted
		if m.Kind == textegress.KindDataTrackSubscribed {
			m.Event.Name = "of the track, which is the topic of its lines"
		}
		raw := slices.Contains(kinds[8:], m.Kind)
		m.Text, m.Base64 = new("what was said"), nil
		if raw || !decrypted { // with the identities in it, or for others
			m.Text, m.Base64 = nil, []byte(secret)
		}
		for _, v := range []any{p.Message(m), p.Manifest(manifest)} {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "SECRET") {
				t.Errorf("kind %s: delivered: %s", m.Kind, b)
				return false
			}
			if x, ok := v.(textegress.Message); ok && x.Base64 != nil {
				t.Errorf("kind %s: delivered: %q", m.Kind, x.Base64)
				return false
			}
		}
		full := errors.New("disk full")
		if names.Err = full; !errors.Is(p.Save(), full) {
			t.Error("an error of the list is lost")
		}
		for _, who := range []string{m.Identity, m.DestinationIdentities[0]} {
			if !strings.Contains(strings.Join(names.Saved, "\x00"), who) {
				t.Errorf("%q is not on the list", who)
			}
		}
		return !t.Failed()
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
}
