package filter_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
)

func newFilter(t testing.TB, r textegress.SelectionRules) *filter.Filter {
	t.Helper()
	f, err := filter.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func marshal(t testing.TB, p *livekit.DataPacket) []byte {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func user(identity, topic string) *livekit.DataPacket {
	u := &livekit.UserPacket{
		Payload:             []byte("x"),
		ParticipantIdentity: identity, //nolint:staticcheck // the server fills it in
	}
	if topic != "" {
		u.Topic = &topic
	}
	return &livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
		Sequence: 7, Value: &livekit.DataPacket_User{User: u},
	}
}

func header(identity, id, topic string) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
		Value: &livekit.DataPacket_StreamHeader{
			StreamHeader: &livekit.DataStream_Header{
				StreamId: id, Topic: topic,
				Attributes: map[string]string{"a": "b"},
			},
		},
	}
}

func chunk(identity, id string) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
		Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{StreamId: id, Content: []byte("chunk")},
		},
	}
}

func trailer(identity, id string) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: "PA_" + identity,
		Value: &livekit.DataPacket_StreamTrailer{
			StreamTrailer: &livekit.DataStream_Trailer{StreamId: id},
		},
	}
}

func TestPacket(t *testing.T) {
	topics := textegress.SelectionRules{
		TopicsAllow: []string{"log*", "lk.chat", `""`},
		TopicsDeny:  []string{"log.secret"},
	}
	who := textegress.SelectionRules{IdentitiesDeny: []string{"bob", "guest-*"}}
	only := textegress.SelectionRules{IdentitiesAllow: []string{"alice"}}
	noChat := textegress.SelectionRules{TopicsDeny: []string{"lk.chat"}}
	keep := topics
	keep.EncryptedKept = true
	value := func(p *livekit.DataPacket) *livekit.DataPacket {
		p.ParticipantIdentity = "alice"
		return p
	}
	transcription := func(by, of string) *livekit.DataPacket {
		return &livekit.DataPacket{
			ParticipantIdentity: by,
			Value: &livekit.DataPacket_Transcription{
				Transcription: &livekit.Transcription{TranscribedParticipantIdentity: of},
			},
		}
	}
	chat := value(&livekit.DataPacket{Value: &livekit.DataPacket_ChatMessage{
		ChatMessage: &livekit.ChatMessage{Message: "hi"},
	}})
	encrypted := value(&livekit.DataPacket{Value: &livekit.DataPacket_EncryptedPacket{
		EncryptedPacket: &livekit.EncryptedPacket{},
	}})
	dtmf := value(&livekit.DataPacket{
		Value: &livekit.DataPacket_SipDtmf{SipDtmf: &livekit.SipDTMF{}},
	})
	rpc := value(&livekit.DataPacket{
		Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{}},
	})
	inner := user("", "log")
	inner.GetUser().ParticipantIdentity = "bob" //nolint:staticcheck // servers of old stamp only this one
	other := user("alice", "log")
	other.GetUser().ParticipantIdentity = "bob" //nolint:staticcheck // likewise

	for _, tt := range []struct {
		name  string
		rules textegress.SelectionRules
		p     *livekit.DataPacket
		want  string
	}{
		{"allowed by its beginning", topics, user("alice", "log.x"), ""},
		{"the beginning itself", topics, user("alice", "log"), ""},
		{"deny wins", topics, user("alice", "log.secret"), textegress.DroppedTopic},
		{"not in the list", topics, user("alice", "Log"), textegress.DroppedTopic},
		{"no topic, which is allowed", topics, user("alice", ""), ""},
		{"kinds without topics have the empty one", topics, dtmf, ""},
		{"a chat packet is lk.chat", topics, chat, ""},
		{"a chat packet is lk.chat, denied", noChat, chat, textegress.DroppedTopic},
		{"a legacy copy is chat", topics, user("alice", "lk-chat-topic"), ""},
		{
			"a legacy copy is chat, denied", noChat, user("alice", "lk-chat-topic"),
			textegress.DroppedTopic,
		},
		{
			"an edit is chat, denied", noChat, user("alice", "lk-chat-update-topic"),
			textegress.DroppedTopic,
		},
		{
			"a transcription is lk.transcription", topics, transcription("agent", "alice"),
			textegress.DroppedTopic,
		},
		{"rpc", topics, rpc, textegress.DroppedTopic},
		{"encrypted", topics, encrypted, textegress.DroppedEncrypted},
		{"encrypted, kept", keep, encrypted, ""},
		{"encrypted, no list of topics", who, encrypted, ""},
		{
			"no value", topics, &livekit.DataPacket{ParticipantIdentity: "alice"},
			textegress.DroppedMalformed,
		},
		{"a denied sender", who, user("bob", "log"), textegress.DroppedIdentity},
		{"a denied beginning", who, user("guest-7", "log"), textegress.DroppedIdentity},
		{"another sender", who, user("bobby", "log"), ""},
		{
			"a transcription of a denied one", who, transcription("agent", "bob"),
			textegress.DroppedIdentity,
		},
		{
			"a transcription by an allowed one only", only, transcription("agent", "alice"),
			textegress.DroppedIdentity,
		},
		{"stamped inside only", who, inner, textegress.DroppedIdentity},
		{"two names", who, other, textegress.DroppedIdentity},
		{"nobody, among those who are allowed", only, user("", "log"), textegress.DroppedIdentity},
		{"nobody, not denied", who, user("", "log"), ""},
		{"allowed", only, user("alice", "log"), ""},
		{
			"a chunk without its header", topics, chunk("alice", "s"),
			textegress.DroppedStreamUnknown,
		},
		{"a chunk, no list of topics", who, chunk("alice", "s"), ""},
	} {
		f := newFilter(t, tt.rules)
		b := marshal(t, tt.p)
		if got := f.Packet(b); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		var want []textegress.Dropped
		if tt.want != "" {
			want = []textegress.Dropped{{Reason: tt.want, Packets: 1, Bytes: int64(len(b))}}
		}
		got := f.Take()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: counted (-want +got):\n%s", tt.name, diff)
		}
		f.Return(got)
		if diff := cmp.Diff(want, f.Take()); diff != "" {
			t.Errorf("%s: given back (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestStreamsOfWhoJoinsAgain: a sender who has to join the room again goes on with a stream under
// another sid. What was allowed stays allowed, and what was denied denied, for this identity alone.
func TestStreamsOfWhoJoinsAgain(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{TopicsAllow: []string{"log"}})
	again := func(p *livekit.DataPacket) *livekit.DataPacket { p.ParticipantSid += "+"; return p }
	hidden := func(p *livekit.DataPacket) *livekit.DataPacket {
		p.ParticipantIdentity = ""
		return p
	}
	for i, step := range []struct {
		p    *livekit.DataPacket
		want string
	}{
		{header("alice", "s", "log"), ""},
		{header("alice", "t", "secret"), textegress.DroppedTopic},
		{header("alice", "u", "log"), ""},
		{hidden(header("alice", "s", "log")), ""},
		{again(chunk("alice", "s")), ""},
		{again(chunk("alice", "t")), textegress.DroppedTopic},
		{chunk("bob", "s"), textegress.DroppedStreamUnknown},
		{hidden(again(chunk("alice", "s"))), textegress.DroppedStreamUnknown},
		{again(trailer("alice", "s")), ""},
		{chunk("alice", "s"), textegress.DroppedStreamUnknown},
		{again(header("alice", "u", "secret")), textegress.DroppedTopic},
		{again(chunk("alice", "u")), textegress.DroppedTopic},
	} {
		if got := f.Packet(marshal(t, step.p)); got != step.want {
			t.Errorf("packet %d: %q, want %q", i+1, got, step.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	good := marshal(t, user("alice", "log"))
	field := func(n protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), v)
	}
	future := append(marshal(t, &livekit.DataPacket{ParticipantIdentity: "alice"}),
		field(23, "something new")...)
	for _, rules := range []textegress.SelectionRules{
		{TopicsAllow: []string{"log"}},
		{IdentitiesDeny: []string{"bob"}},
	} {
		for name, b := range map[string][]byte{
			"cut off":         good[:len(good)-1],
			"noise":           {0xff, 0xff, 0xff},
			"two senders":     append(field(4, "bob"), good...),
			"a second sender": append(append([]byte{}, good...), field(4, "bob")...),
			"two values":      append(append([]byte{}, good...), field(9, "")...),
			"sender is a number": append(protowire.AppendVarint(protowire.AppendTag(nil, 4,
				protowire.VarintType), 1),
				field(2, "")...),
			"two topics": field(2, string(append(field(4, "log"), field(4, "secret")...))),
		} {
			if got := newFilter(t, rules).Packet(b); got != textegress.DroppedMalformed {
				t.Errorf("%+v, %s: %q, want malformed", rules, name, got)
			}
		}
		// What this program does not know yet: kept where only senders matter, for the sender is
		// known.
		want := ""
		if len(rules.TopicsAllow) > 0 {
			want = textegress.DroppedKindUnknown
		}
		if got := newFilter(t, rules).Packet(future); got != want {
			t.Errorf("%+v, a new kind: %q, want %q", rules, got, want)
		}
	}
}

func TestStreams(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{TopicsDeny: []string{"secret"}})
	do := func(p *livekit.DataPacket, want string) {
		t.Helper()
		if got := f.Packet(marshal(t, p)); got != want {
			t.Errorf("%v: %q, want %q", p, got, want)
		}
	}
	// Two senders, the same id, different topics, at the same time.
	do(header("alice", "1", "open"), "")
	do(header("bob", "1", "secret"), textegress.DroppedTopic)
	do(chunk("alice", "1"), "")
	do(chunk("bob", "1"), textegress.DroppedTopic)
	// A second header does not open what was closed.
	do(header("bob", "1", "open"), textegress.DroppedTopic)
	do(chunk("bob", "1"), textegress.DroppedTopic)
	do(trailer("bob", "1"), textegress.DroppedTopic)
	do(chunk("bob", "1"), textegress.DroppedStreamUnknown)
	// But closes what was open.
	do(header("alice", "1", "secret"), textegress.DroppedTopic)
	do(chunk("alice", "1"), textegress.DroppedTopic)
	do(trailer("alice", "1"), textegress.DroppedTopic)
	// The table is bounded; what it forgot is dropped.
	for i := range 10_000 {
		do(header("alice", fmt.Sprint(i), "open"), "")
	}
	do(chunk("alice", "0"), textegress.DroppedStreamUnknown)
	do(chunk("alice", "9999"), "")
	// What an earlier process recorded is known.
	g := newFilter(t, f.Rules())
	g.Learn(marshal(t, header("alice", "9999", "open")))
	if got := g.Packet(marshal(t, chunk("alice", "9999"))); got != "" {
		t.Errorf("a stream that went on: %q", got)
	}
	if got := g.Take(); got != nil {
		t.Errorf("learning counted %v", got)
	}
}

func TestTracks(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{
		TopicsAllow:    []string{"pose"},
		IdentitiesDeny: []string{"bob"},
	})
	for _, tt := range []struct {
		handle         uint16
		identity, name string
		want           string
	}{
		{1, "alice", "pose", ""},
		{2, "bob", "pose", textegress.DroppedIdentity},
		{3, "alice", "gaze", textegress.DroppedTopic},
	} {
		if got := f.Track(tt.handle, "", tt.identity, tt.name); got != (tt.want == "") {
			t.Errorf("track %d: %v", tt.handle, got)
		}
		if got := f.Frame(tt.handle, 100); got != tt.want {
			t.Errorf("frame of track %d: %q, want %q", tt.handle, got, tt.want)
		}
	}
	// As long as its name is not known, its topic is not; a handle that is told again is another
	// track's.
	if f.Track(1, "", "alice", "") || f.Frame(1, 1) != textegress.DroppedTrackUnknown ||
		!f.Track(1, "", "alice", "pose") || f.Frame(1, 1) != "" {
		t.Error("a track without a name is kept, or one with is not")
	}
	if f.Track(1, "", "bob", "pose") || f.Frame(1, 1) != textegress.DroppedIdentity ||
		!f.Track(1, "", "alice", "pose") {
		t.Error("the handle means the track of before")
	}
	for _, rules := range []textegress.SelectionRules{
		{TopicsDeny: []string{"gaze"}},
		{TopicsAllow: []string{`""`}},
	} {
		if f := newFilter(t, rules); f.Track(1, "", "alice", "") ||
			f.Frame(1, 1) != textegress.DroppedTrackUnknown {
			t.Errorf("%+v: a track without a name is kept", rules)
		}
	}
	byIdentity := newFilter(t, textegress.SelectionRules{IdentitiesDeny: []string{"bob"}})
	if !byIdentity.Track(1, "", "alice", "") || byIdentity.Frame(1, 1) != "" {
		t.Error("lists of identities need no name")
	}
	if got := f.Frame(9, 1); got != textegress.DroppedTrackUnknown {
		t.Errorf("frame of an unknown track: %q", got)
	}
	f.ForgetTracks()
	if got := f.Frame(1, 1); got != textegress.DroppedTrackUnknown {
		t.Errorf("after the connection: %q", got)
	}
}

func TestPatterns(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{IdentitiesDeny: []string{
		`a\,b`, `st\*r`, `\""`,
		`back\\`, `""`, `学*`,
	}})
	for identity, want := range map[string]bool{
		"a,b": false, "st*r": false, `""`: false, `back\`: false, "": false, "学生": false,
		"学": false,
		"a": true, "st": true, "star": true, "b": true,
	} {
		if got := f.Identity(identity); got != want {
			t.Errorf("%q: %v, want %v", identity, got, want)
		}
	}
	for _, bad := range []string{"", "a*b", `a\`, `a\b`, "**"} {
		if _, err := filter.New(textegress.SelectionRules{
			TopicsAllow: []string{bad},
		}); err == nil {
			t.Errorf("%q is accepted", bad)
		} else if bad != "" && strings.Contains(err.Error(), bad) && bad != "**" {
			t.Errorf("%q is quoted: %v", bad, err)
		}
	}
	var none *filter.Filter
	if none.Packet([]byte{1}) != "" || !none.Identity("x") || none.Take() != nil ||
		!none.Track(1, "", "", "") || none.Frame(1, 1) != "" {
		t.Error("no filter filters")
	}
}

// Whatever the interleaving of senders, topics and streams: what is kept has, by an independent
// account of the packets, an allowed sender and an allowed topic, and what an account of the
// packets knows to be allowed is kept.
func TestNothingDeniedGetsThrough(t *testing.T) {
	senders := []string{"alice", "bob", "carol", ""}
	topics := []string{"open", "secret", "open.more", ""}
	rounds := 120
	if testing.Short() {
		rounds = 40
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		rules := textegress.SelectionRules{IdentitiesDeny: []string{"bob"}}
		if seed%2 == 0 {
			rules.TopicsDeny = []string{"secret"}
		} else {
			rules.TopicsAllow = []string{"open*"}
		}
		topicOK := func(topic string) bool {
			return seed%2 == 0 && topic != "secret" || seed%2 == 1 &&
				strings.HasPrefix(topic, "open")
		}
		f := newFilter(t, rules)
		type key struct{ who, id string }
		streams := map[key]bool{} // allowed
		for range 200 {
			who, topic := senders[r.IntN(len(senders))], topics[r.IntN(len(topics))]
			id := fmt.Sprint(r.IntN(6))
			k := key{who, id}
			var p *livekit.DataPacket
			var want bool
			switch r.IntN(5) {
			case 0:
				p, want = user(who, topic), topicOK(topic)
			case 1:
				p = header(who, id, topic)
				old, known := streams[k]
				want = topicOK(topic) && (!known || old)
				streams[k] = want
			case 2, 3:
				p, want = chunk(who, id), streams[k]
			case 4:
				p, want = trailer(who, id), streams[k]
				delete(streams, k)
			}
			if who == "bob" {
				want = false
				delete(streams, k) // never looked at
			}
			if got := f.Packet(marshal(t, p)) == ""; got != want {
				t.Fatalf("seed %d: %v: kept %v, want %v", seed, p, got, want)
			}
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{
		TopicsDeny:     []string{"secret", "x*"},
		IdentitiesDeny: []string{"bob", "guest*"},
	})
	f.Packet(marshal(t, header("alice", "s", "open")))
	for name, b := range map[string][]byte{
		"kept": marshal(t, user("alice", "log")), "denied": marshal(t, user("bob", "log")),
		"chunk":       marshal(t, chunk("alice", "s")),
		"legacy chat": marshal(t, user("alice", "lk-chat-topic")),
	} {
		if n := testing.AllocsPerRun(100, func() { f.Packet(b) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What is kept of any bytes at all parses with the protobuf library to a sender and a topic that
// are allowed.
func FuzzPacket(f *testing.F) {
	for _, p := range []*livekit.DataPacket{
		user("alice", "log"), user("bob", "secret"),
		header("alice", "1", "secret"), chunk("a", "1"), trailer("a", "1"),
	} {
		f.Add(marshal(f, p))
	}
	f.Add([]byte{0x22, 3, 'b', 'o', 'b', 0x12, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fl := newFilter(t, textegress.SelectionRules{
			TopicsDeny:     []string{"secret"},
			IdentitiesDeny: []string{"bob"},
		})
		if fl.Packet(b) != "" {
			return
		}
		var p livekit.DataPacket
		if proto.Unmarshal(b, &p) != nil {
			return // nobody can make a packet of it
		}
		u := p.GetUser()
		//nolint:staticcheck // every reader still reads the deprecated field
		if p.ParticipantIdentity == "bob" || u.GetParticipantIdentity() == "bob" ||
			p.GetTranscription().GetTranscribedParticipantIdentity() == "bob" {
			t.Errorf("a packet of bob is kept: %v", &p)
		}
		if u.GetTopic() == "secret" || p.GetStreamHeader().GetTopic() == "secret" {
			t.Errorf("a secret packet is kept: %v", &p)
		}
	})
}
