package render

import (
	"encoding/json"
	"strings"

	"github.com/syncflow/textegress"
)

// recentChats is how many of a sender's latest chat messages are kept to recognise a copy. The copy
// follows immediately.
const recentChats = 8

// duplicateFilter finds the messages that LiveKit's chat components send a second time for old
// clients: a user packet with the id of the preceding chat message or stream and a mark for newer
// clients to ignore it (components-js, packages/core/src/components/chat.ts: "ignoreLegacy" beside
// streams, "ignore" beside ChatMessage packets).
type duplicateFilter struct{ chats map[connection]*recent }

type recent struct {
	chats [recentChats]chatLine
	next  int
}

type chatLine struct {
	id string
	n  int64
}

func newDuplicateFilter() *duplicateFilter {
	return &duplicateFilter{chats: map[connection]*recent{}}
}

// mark marks m if it is a copy. A mark alone proves nothing: if the original is not in the
// recording, only the copy holds the message.
func (f *duplicateFilter) mark(m *textegress.Message) {
	who := connection{m.Identity, m.ParticipantSID}
	if m.Stream != nil && len(m.Stream.ContinuedBy) > 0 {
		who.sid = m.Stream.ContinuedBy[len(m.Stream.ContinuedBy)-1] // whose copy is yet to come
	}
	id := ""
	switch {
	case m.Kind == textegress.KindChat && m.Chat != nil:
		id = m.Chat.ID
	case m.Kind == textegress.KindTextStream && m.Stream != nil:
		id = m.Stream.ID
	case m.Kind == textegress.KindData && m.Text != nil:
		if id, ok := copyID(*m.Text); ok {
			m.CopyOf = f.find(who, id)
		}
		return
	}
	if id == "" || len(id) > 256 {
		return
	}
	r := f.chats[who]
	if r == nil {
		r = &recent{}
		f.chats[who] = r
	}
	r.chats[r.next] = chatLine{id, m.N}
	r.next = (r.next + 1) % recentChats
}

func (f *duplicateFilter) find(who connection, id string) int64 {
	r := f.chats[who]
	if r == nil {
		return 0
	}
	for _, l := range r.chats {
		if l.n != 0 && l.id == id {
			return l.n
		}
	}
	return 0
}

// copyID returns the id of the message that a user packet claims to be a copy of.
func copyID(text string) (string, bool) {
	if len(text) == 0 || text[0] != '{' || !strings.Contains(text, `"ignore`) {
		return "", false
	}
	var legacy struct {
		ID           string `json:"id"`
		Ignore       bool   `json:"ignore"`
		IgnoreLegacy bool   `json:"ignoreLegacy"`
	}
	if json.Unmarshal([]byte(text), &legacy) != nil || legacy.ID == "" {
		return "", false
	}
	return legacy.ID, legacy.Ignore || legacy.IgnoreLegacy
}
