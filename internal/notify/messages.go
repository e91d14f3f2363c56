package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/spool"
)

// EventMessage is the name in the settings of the batches of messages. A subscription that names no
// events does not include it.
const EventMessage = "message"

// eventMessages is the name of a batch in its body.
const eventMessages = "data_messages"

// Limits of a batch. One line alone may be larger.
const (
	maxBatchBytes = 256 << 10
	maxBatchLines = 500
)

// Line is a line of events.jsonl.
type Line struct {
	N     int64
	JSON  []byte // without the line feed
	Kind  textegress.Kind
	Topic string
}

// Reader reads the lines of a recording in order.
type Reader interface {
	// Next waits for the next line. It returns io.EOF after the last line of a complete recording.
	// A call after one that the context has ended returns the line that the other waited for.
	Next(context.Context) (Line, error)
	// Ready returns the number of the last line that Next would return without waiting.
	Ready() int64
	// Version names what determines the lines and their numbers.
	Version() string
	Close() error
}

// Lines gives access to the durable lines of recordings. An error that wraps [ErrGone] means that
// their local data was removed.
type Lines interface {
	Follow(egressID string, from int64) (Reader, error)
}

// ErrGone reports that the local data of a recording was removed.
var ErrGone = errors.New("the local data of the recording was removed")

// Topics of messages without a topic, as in TOPICS_ALLOW.
var topicsOfKinds = map[textegress.Kind][]string{
	textegress.KindChat:          {"lk.chat"},
	textegress.KindTranscription: {"lk.transcription"},
	textegress.KindRPC:           {"lk.rpc_request", "lk.rpc_response"},
}

// always are the kinds of lines that a list of topics does not leave out: without them, a receiver
// could not tell where messages are missing. They contain nothing about participants.
var always = []textegress.Kind{
	textegress.KindRecordingStarted, textegress.KindOutageStarted, textegress.KindOutageEnded,
	textegress.KindCorrupt, textegress.KindRecorderAway, textegress.KindRecorderBack,
	textegress.KindRecordingEnded,
}

// messages are the kinds of lines that have a topic.
var messages = []textegress.Kind{
	textegress.KindData, textegress.KindChat, textegress.KindTranscription,
	textegress.KindTextStream, textegress.KindByteStream, textegress.KindDataTrack,
	textegress.KindRPC, textegress.KindSIPDTMF, textegress.KindUnknown,
}

// includes reports whether a subscription includes a line. A list of topics leaves out messages of
// other topics, encrypted ones, and the recorder's lines about participants.
func (s Subscription) includes(l *Line) bool {
	if len(s.Topics) == 0 || slices.Contains(always, l.Kind) {
		return true
	}
	topics := topicsOfKinds[l.Kind]
	if l.Topic != "" || topics == nil {
		topics = []string{l.Topic}
	}
	return slices.Contains(messages, l.Kind) &&
		slices.ContainsFunc(s.Topics, func(p pattern.Pattern) bool {
			return slices.ContainsFunc(topics, p.Match)
		})
}

// batch collects the lines of one request.
type batch struct {
	first, last int64 // the lines that it covers, also those that it leaves out
	lines       int
	body        []byte // the JSON of the lines, separated by commas
}

// add adds a line to the batch, unless that would exceed size.
func (b *batch) add(l *Line, size int) bool {
	if b.lines > 0 && len(b.body)+1+len(l.JSON) > size {
		return false
	}
	if b.lines > 0 {
		b.body = append(b.body, ',')
	}
	b.body = append(b.body, l.JSON...)
	b.lines++
	return true
}

// messagesEvent is the head of the body of a batch. The lines follow it, as "lines". None of its
// names has another meaning in LiveKit's WebhookEvent: receivers ignore those that they do not
// know.
type messagesEvent struct {
	Event     string `json:"event"`
	ID        string `json:"id"`
	EgressID  string `json:"egress_id"`
	RoomName  string `json:"room_name"`
	SessionID string `json:"session_id"`
	Version   string `json:"version"`
	// ReplacesVersion is set in the first batch after the version has changed.
	ReplacesVersion string `json:"replaces_version,omitempty"`
	FirstN          int64  `json:"first_n"`
	LastN           int64  `json:"last_n"`
}

// encode returns the body of a batch. It depends on the lines and the version only.
func (b *batch) encode(info spool.Info, c cursor) ([]byte, error) {
	e := messagesEvent{
		Event: eventMessages, ID: batchID(info.EgressID, c.Version, b.first, b.last),
		EgressID: info.EgressID, RoomName: info.RoomName, SessionID: info.SessionID,
		Version: c.Version, FirstN: b.first, LastN: b.last,
	}
	if b.first == 1 {
		e.ReplacesVersion = c.Replaces
	}
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode messages of recording %s: %w", info.EgressID, err)
	}
	body := make([]byte, 0, len(head)+len(b.body)+12)
	body = append(body, head[:len(head)-1]...)
	body = append(body, `,"lines":[`...)
	body = append(body, b.body...)
	return append(body, ']', '}'), nil
}

// batchID returns the id of a batch. The same lines always have the same id.
func batchID(egressID, version string, first, last int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%d", egressID, eventMessages, version,
		first, last))
	return "EV_" + hex.EncodeToString(sum[:12])
}

// feed sends the lines of one recording to one receiver. Only its goroutine uses the fields up to
// the next blank line; Notifier.mu guards the others.
type feed struct {
	receiver *receiver
	egressID string
	cursor   cursor
	saved    cursor // what is on disk
	savedAt  time.Time
	reader   Reader
	head     *Line // the first line after the cursor; nil: unknown
	repeat   int64 // the last line of a batch that failed; 0: none
	behind   bool  // the last batch left lines that were ready
	maxBytes int   // of a batch
	maxLines int
	failures int // in a row

	stop      context.CancelFunc // nil: the goroutine is not running
	waiting   time.Time          // since when a line is waiting; zero: none is
	lastError string
	logged    time.Time
}

func newFeed(r *receiver, egressID string, c cursor) *feed {
	return &feed{
		receiver: r, egressID: egressID, cursor: c, saved: c,
		maxBytes: maxBatchBytes, maxLines: maxBatchLines,
	}
}
