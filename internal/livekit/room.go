package livekit

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Room is one run of a room, as the server reports it (livekit.Room).
type Room struct {
	SID      string // identifies the run: another run of the same name has another sid
	Name     string // any text
	Metadata string // any text, set by the room's creator
	// Participants is the number of participants, without recorders and agents. The server updates
	// it every five seconds, and when a recorder joins or leaves.
	Participants int
	Created      time.Time // by the server's clock; before LiveKit 1.8, in whole seconds
	// ActiveRecording is true while a recorder is in the room.
	ActiveRecording bool
}

// Field numbers of livekit.ListRoomsRequest, livekit.ListRoomsResponse and livekit.Room.
const (
	fieldNames           = 1
	fieldRooms           = 1
	fieldSID             = 1
	fieldName            = 2
	fieldCreated         = 5
	fieldMetadata        = 8
	fieldParticipants    = 9
	fieldActiveRecording = 10
	fieldCreatedMS       = 15
)

// listRequest encodes a livekit.ListRoomsRequest.
func listRequest(names []string) []byte {
	var b []byte
	for _, name := range names {
		b = protowire.AppendTag(b, fieldNames, protowire.BytesType)
		b = protowire.AppendString(b, name)
	}
	return b
}

var errEncoding = errors.New("malformed protobuf")

// decodeRooms decodes a livekit.ListRoomsResponse. It reads the fields of [Room] and skips the
// rest, such as the codecs, which takes a tenth of the time of a full decoder.
func decodeRooms(b []byte) ([]Room, error) {
	var rooms []Room
	err := fields(b, func(number protowire.Number, v value) error {
		if number != fieldRooms || v.kind != protowire.BytesType {
			return nil
		}
		room, err := decodeRoom(v.bytes)
		if err == nil && room.SID == "" {
			err = errEncoding
		}
		rooms = append(rooms, room)
		return err
	})
	return rooms, err
}

func decodeRoom(b []byte) (Room, error) {
	var room Room
	var seconds, milliseconds int64
	err := fields(b, func(number protowire.Number, v value) error {
		if v.kind == protowire.BytesType {
			switch number {
			case fieldSID:
				room.SID = string(v.bytes)
			case fieldName:
				room.Name = string(v.bytes)
			case fieldMetadata:
				room.Metadata = string(v.bytes)
			}
			return nil
		}
		switch number {
		case fieldParticipants:
			room.Participants = int(uint32(v.number))
		case fieldActiveRecording:
			room.ActiveRecording = v.number != 0
		case fieldCreated:
			seconds = int64(v.number)
		case fieldCreatedMS:
			milliseconds = int64(v.number)
		}
		return nil
	})
	room.Created = created(seconds, milliseconds)
	return room, err
}

// created returns the time at which a room was created. Older servers state whole seconds only.
func created(seconds, milliseconds int64) time.Time {
	switch {
	case milliseconds > 0:
		return time.UnixMilli(milliseconds)
	case seconds > 0:
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// value is the value of a field: either bytes or a number; the other is zero.
type value struct {
	kind   protowire.Type
	bytes  []byte
	number uint64
}

// fields calls visit for each field of an encoded message whose value is of these two kinds.
func fields(b []byte, visit func(protowire.Number, value) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errEncoding
		}
		b = b[n:]
		v := value{kind: kind}
		switch kind {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		default:
			if n = protowire.ConsumeFieldValue(number, kind, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return errEncoding
		}
		b = b[n:]
		if err := visit(number, v); err != nil {
			return err
		}
	}
	return nil
}
