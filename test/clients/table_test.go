package clients

import (
	"maps"
	"slices"

	"github.com/syncflow/textegress"
)

// sdkID names an SDK; it is the identity of its participant and the folder of its app.
type sdkID string

const (
	web223 sdkID = "web-2.23"
	web215 sdkID = "web-2.15"
	web25  sdkID = "web-2.5"
	node   sdkID = "node"
	agent  sdkID = "agent" // also Node: a participant of kind agent
	py12   sdkID = "python-1.2"
	py10   sdkID = "python-1.0"
	goSDK  sdkID = "go"
	server sdkID = "server" // has no identity in the record
)

type sdk struct {
	id    sdkID
	title string // in the table
	entry string // of a browser's page
	what  string
}

var sdks = []sdk{
	{web223, "JS 2.23.0", "components.jsx", "livekit-client 2.23.0 in Chromium, the chat box of " +
		"@livekit/components-react 2.9.24. The current version: sends *data streams v2*"},
	{web215, "JS 2.15.5", "plain.js", "livekit-client 2.15.5 in Chromium: streams of version 1"},
	{web25, "JS 2.5.5", "components.jsx", "livekit-client 2.5.5 in Chromium, the chat box of " +
		"@livekit/components-react 2.6.2: a version from before streams"},
	{node, "Node 1.1.0", "", "@livekit/rtc-node 1.1.0"},
	{agent, "agent", "", "the same as a participant of kind *agent*"},
	{py12, "Python 1.2.1", "", "the package `livekit` 1.2.1, the SDK of most agents: sends *data " +
		"streams v2*"},
	{py10, "Python 1.0.6", "", "`livekit` 1.0.6: streams of version 1, whose chunks it " +
		"counts from 1"},
	{goSDK, "Go 2.18.1", "", "server-sdk-go 2.18.1"},
	{server, "server API", "", "RoomService.SendData, through server-sdk-go"},
}

// What is in the record, as kinds of events.jsonl.
const (
	none          = "none" // does not reach a recorder
	data          = "data"
	chat          = "chat"
	textStream    = "text_stream"
	byteStream    = "byte_stream"
	transcription = "transcription"
	dtmf          = "sip_dtmf"
	dataTrack     = "data_track"
)

// row is a send method and what is recorded of it, by SDK. An SDK that is not named has no such
// method, or it is another row's.
type row struct {
	method string
	title  string
	want   map[sdkID]string
}

func by(kind string, ids ...sdkID) map[sdkID]string {
	m := map[sdkID]string{}
	for _, id := range ids {
		m[id] = kind
	}
	return m
}

func and(ms ...map[sdkID]string) map[sdkID]string {
	all := map[sdkID]string{}
	for _, m := range ms {
		maps.Copy(all, m)
	}
	return all
}

// What becomes of a method that was tried.
const (
	sentIt       = "sent"
	notInVersion = "not in this version"
	noPeer       = "nobody to address"
)

var rows = []row{
	{"publish-reliable", "`publishData`, reliable", by(data, web223, web215, web25, node, agent,
		py12, py10, goSDK, server)},
	{
		"publish-lossy", "`publishData`, lossy (the default in a browser)",
		by(data, web223, web215, web25, node, agent, py12, py10, goSDK, server),
	},
	{
		"publish-bytes", "`publishData`, bytes that are not text",
		by(data, web223, web215, web25, node, agent, py12, py10, goSDK, server),
	},
	{
		"publish-no-topic", "`publishData` without a topic",
		by(data, web223, web215, web25, node, agent, py12, py10, goSDK, server),
	},
	{
		"publish-addressed", "`publishData` to named participants",
		by(none, web223, web215, web25, node, agent, py12, py10, goSDK, server),
	},
	{
		"publish-addressed-too", "`publishData` to named participants and the recorder",
		by(data, web223, web215, web25, node, agent, py12, py10, goSDK, server),
	},
	{
		"send-text-short", "`sendText`, short, with attributes",
		by(textStream, web223, web215, node, agent, py12, py10, goSDK),
	},
	{
		"send-text-long", "`sendText`, 40 kB, with attributes",
		by(textStream, web223, web215, node, agent, py12, py10, goSDK),
	},
	{
		"send-text-attachments", "`sendText` with two attachments",
		by("byte_stream, text_stream", web223, web215, goSDK),
	},
	{
		"send-text-addressed", "`sendText` to named participants",
		by(none, web223, web215, node, agent, py12, py10, goSDK),
	},
	{
		"stream-text", "`streamText`, in parts, with attributes",
		by(textStream, web223, web215, node, agent, py12, py10, goSDK),
	},
	{"send-file", "`sendFile`, 100 kB", by(byteStream, web223, web215, node, agent, py12, py10,
		goSDK)},
	{"send-bytes", "`sendBytes`, 9 kB", by(byteStream, web223, py12)},
	{
		"stream-bytes", "`streamBytes`, in parts, with attributes",
		by(byteStream, web223, web215, node, agent, py12, py10, goSDK),
	},
	{"chat", "`sendChatMessage` and `editChatMessage`", by(chat, web223, web215, web25, node, agent,
		goSDK)},
	{
		"components-chat", "chat box of LiveKit's components",
		and(by("data, text_stream", web223), by("chat, data", web25)),
	},
	{
		"transcription", "`publishTranscription`",
		and(by(none, node, py12, py10, goSDK), by(transcription, agent)),
	},
	{
		"transcription-stream", "interim and final text on topic `lk.transcription`",
		by(textStream, node, agent, py12, py10),
	},
	{"dtmf", "`publishDtmf`", by(dtmf, web223, web215, node, agent, py12, py10, goSDK)},
	{"data-track", "`publishDataTrack`, frames of a data track", by(dataTrack, web223, py12)},
	{"rpc", "`performRpc`: request and response", by(none, web223, web215, node, agent, py12, py10,
		goSDK)},
	{"metrics", "metrics packets", by(none, goSDK)},
}

type exception struct {
	setting string
	id      sdkID
	method  string
}

// exceptions are cells that differ in one setting. rtc-node 1.1.0 addresses only the header of a
// stream: its chunks and its end go to everybody, unless it is one packet. The old SDK for Python
// addresses all but the end.
var exceptions = map[exception]string{
	{"all", node, "send-text-addressed"}:  byteStream,
	{"all", agent, "send-text-addressed"}: byteStream,
	{"all", py10, "send-text-addressed"}:  byteStream,
}

// unprovable lists, by sender and topic, the streams that nothing can prove complete, with the
// reason in the record: the old SDK for Python neither numbers its packets nor announces the length
// of these, and counts chunks of bytes from 1.
var unprovable = map[sdkID]map[string]string{
	py10: {
		"stream-text": textegress.StreamUnproved, "lk.transcription": textegress.StreamUnproved,
		"stream-bytes": textegress.StreamMissingChunks,
	},
}

// needsPeer are the methods that name somebody.
var needsPeer = map[string]bool{
	"publish-addressed": true, "publish-addressed-too": true,
	"send-text-addressed": true, "rpc": true,
}

// setting is who is in a room beside the hidden recorder.
type setting struct {
	name    string
	title   string
	members []sdkID
}

// In the room of "all" everybody is both sender and company of the others: there the clients that
// know streams v2 must do without, for the sake of those that do not.
var settings = []setting{
	{"alone", "alone", nil}, // one room for each SDK
	{"current", "with current clients", []sdkID{web223, node, agent, py12}},
	{"all", "with older clients", []sdkID{
		web223, web215, web25, node, agent, py12, py10, goSDK,
		server,
	}},
}

// The settings of rooms that are encrypted end to end with a shared key, by everybody who can: of a
// project whose configuration has the key, and of one that has not.
const (
	encrypted      = "encrypted"
	encryptedNoKey = "encrypted no key"
	passphrase     = "the passphrase of the class"
)

var (
	encryptedMembers = []sdkID{web223, node, goSDK}
	encryptedMethods = map[string]bool{
		"publish-reliable": true, "publish-lossy": true, "publish-bytes": true,
		"publish-no-topic": true, "send-text-short": true, "send-text-long": true,
		"stream-text": true, "send-file": true, "stream-bytes": true, "chat": true,
		"data-track": true,
	}
)

// peers answers and is addressed, in rooms with others.
var peers = map[string]map[sdkID]sdkID{
	"current": {web223: node, node: web223, agent: node, py12: node},
	"all": {
		web223: goSDK, web215: goSDK, web25: goSDK, node: goSDK, agent: goSDK, py12: goSDK,
		py10: goSDK, goSDK: node, server: goSDK,
	},
}

// How streams must have travelled. What a client of streams v2 does depends on who is there; where
// a method is not named, it may be as it likes.
var (
	formsV2 = map[string]string{
		"send-text-short": "inline", "send-text-long": "inline, deflate", "stream-text": "chunks",
		"send-file": "chunks, deflate", "send-bytes": "inline", "stream-bytes": "chunks",
	}
	formsV1 = map[string]string{
		"send-text-short": "chunk", "send-text-long": "chunks", "stream-text": "chunks",
		"send-file": "chunks", "send-bytes": "chunk", "stream-bytes": "chunks",
	}
	v2Clients = []sdkID{web223, node, agent, py12}
)

// wantForms are those of one sender: v2 where everybody that it can see knows v2. The hidden
// recorder cannot be seen.
func wantForms(g *group, id sdkID) map[string]string {
	for _, member := range append([]sdkID{id}, g.members...) {
		if !slices.Contains(v2Clients, member) {
			return formsV1
		}
	}
	return formsV2
}
