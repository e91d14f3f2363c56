package textegress

// wireMessage is Message as it stands in JSON: same keys in the same order, the
// time as a Timestamp. A test compares the two field by field.
type wireMessage struct {
	N                     int64              `json:"n"`
	Kind                  Kind               `json:"kind"`
	Time                  Timestamp          `json:"time"`
	UnixNS                int64              `json:"unix_ns"`
	Identity              string             `json:"identity,omitempty"`
	ParticipantSID        string             `json:"participant_sid,omitempty"`
	Topic                 string             `json:"topic,omitempty"`
	Reliable              *bool              `json:"reliable,omitempty"`
	Sequence              uint32             `json:"sequence,omitempty"`
	Epoch                 int                `json:"epoch,omitempty"`
	PossibleDuplicate     bool               `json:"possible_duplicate,omitempty"`
	Text                  *string            `json:"text,omitempty"`
	Base64                []byte             `json:"base64,omitempty"`
	Withheld              int64              `json:"withheld,omitempty"`
	Field                 int                `json:"field,omitempty"`
	FieldName             string             `json:"field_name,omitempty"`
	User                  *UserInfo          `json:"user,omitempty"`
	Chat                  *ChatInfo          `json:"chat,omitempty"`
	Transcription         *TranscriptionInfo `json:"transcription,omitempty"`
	RPC                   *RPCInfo           `json:"rpc,omitempty"`
	SIPDTMF               *SIPDTMFInfo       `json:"sip_dtmf,omitempty"`
	Stream                *StreamInfo        `json:"stream,omitempty"`
	Track                 *TrackInfo         `json:"track,omitempty"`
	Event                 *Event             `json:"event,omitempty"`
	DestinationIdentities []string           `json:"destination_identities,omitempty"`
	Encryption            *EncryptionInfo    `json:"encryption,omitempty"`
	CopyOf                int64              `json:"copy_of,omitempty"`
}

func newWireMessage(m Message) *wireMessage {
	return &wireMessage{
		N: m.N, Kind: m.Kind, Time: UnixTimestamp(m.UnixNS), UnixNS: m.UnixNS,
		Identity: m.Identity, ParticipantSID: m.ParticipantSID, Topic: m.Topic,
		Reliable: m.Reliable, Sequence: m.Sequence, Epoch: m.Epoch,
		PossibleDuplicate: m.PossibleDuplicate,
		Text:              m.Text, Base64: m.Base64, Withheld: m.Withheld, Field: m.Field,
		FieldName: m.FieldName,
		User:      m.User, Chat: m.Chat, Transcription: m.Transcription, RPC: m.RPC,
		SIPDTMF: m.SIPDTMF,
		Stream:  m.Stream, Track: m.Track, Event: m.Event,
		DestinationIdentities: m.DestinationIdentities, Encryption: m.Encryption, CopyOf: m.CopyOf,
	}
}

func (w *wireMessage) message() Message {
	return Message{
		N: w.N, Kind: w.Kind, Time: w.Time.Time, UnixNS: w.UnixNS,
		Identity: w.Identity, ParticipantSID: w.ParticipantSID, Topic: w.Topic,
		Reliable: w.Reliable, Sequence: w.Sequence, Epoch: w.Epoch,
		PossibleDuplicate: w.PossibleDuplicate,
		Text:              w.Text, Base64: w.Base64, Withheld: w.Withheld, Field: w.Field,
		FieldName: w.FieldName,
		User:      w.User, Chat: w.Chat, Transcription: w.Transcription, RPC: w.RPC,
		SIPDTMF: w.SIPDTMF,
		Stream:  w.Stream, Track: w.Track, Event: w.Event,
		DestinationIdentities: w.DestinationIdentities, Encryption: w.Encryption, CopyOf: w.CopyOf,
	}
}
