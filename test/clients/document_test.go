package clients

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/test/stack"
)

// findings is what was found in the records: by method, SDK and setting the kinds, and how the
// streams travelled.
type findings struct {
	kinds map[string]map[sdkID]map[string]string
	forms map[string]map[sdkID]map[string]string
}

func newFindings() *findings {
	return &findings{
		kinds: map[string]map[sdkID]map[string]string{},
		forms: map[string]map[sdkID]map[string]string{},
	}
}

func put(m map[string]map[sdkID]map[string]string, method string, id sdkID, setting, value string) {
	if m[method] == nil {
		m[method] = map[sdkID]map[string]string{}
	}
	if m[method][id] == nil {
		m[method][id] = map[string]string{}
	}
	m[method][id][setting] = value
}

func (f *findings) add(g *group, j job, method, kinds string) {
	put(f.kinds, method, j.sdk.id, g.setting, kinds)
	if form := g.wire.forms(j.identity(), method); form != "" && kinds != none {
		put(f.forms, method, j.sdk.id, g.setting, form)
	}
}

// reasons are why what a method sends does not reach a recorder, and what an app can do.
var reasons = map[string][2]string{
	"publish-addressed": {
		"LiveKit's server sends a packet that names its receivers to these alone. No grant of a " +
			"recorder changes that.",
		"Send to everybody, with a topic that only the receivers evaluate. Or name the recorder " +
			"too: its identity begins with `textegress-` and is new for every connection, so the " +
			"app's server finds it with RoomService.ListParticipants, as the participant whose " +
			"permission has `recorder`.",
	},
	"send-text-addressed": {
		"As above: streams to named participants are packets to named participants.",
		"As above. Do not rely on it for secrecy: rtc-node 1.1.0 names the receivers only on the " +
			"first packet of a stream, and the text itself goes to everybody (unless it is one " +
			"packet, as between current clients). The record then has it as a stream without a " +
			"header. Python 1.0.6 names them on all but the last packet: the record has a stream " +
			"without header and content.",
	},
	"rpc": {
		"A call and its response are each addressed to one participant.",
		"Also publish what should be on record as a message, from the caller or from the callee.",
	},
	"transcription": {
		"LiveKit's server forwards transcription packets only from participants of kind *agent*.",
		"Send text on the topic `lk.transcription`, as current agents do: it is recorded " +
			"from everybody.",
	},
	"metrics": {
		"LiveKit's server sends metrics only to participants with the grant canSubscribeMetrics " +
			"who also receive the sender's media.",
		"Collect metrics from LiveKit's server, or publish what the study needs as data.",
	},
}

// document compares docs/CLIENTS.md with what was found, or writes it.
func (f *findings) document(t *testing.T) {
	t.Helper()
	want := f.markdown(t)
	path := filepath.Join(must(stack.Root())(t), "docs", "CLIENTS.md")
	if *update {
		check(t, os.WriteFile(path, want, 0o644))
		return
	}
	got, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(strings.Split(string(got), "\n"),
		strings.Split(string(want), "\n")); diff != "" {
		t.Errorf("docs/CLIENTS.md is not what was found (if it should be: go test ./clients "+
			"-update):\n%s", diff)
	}
}

func (f *findings) markdown(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	para := func(texts ...string) { b.WriteString(wrapped("", "", strings.Join(texts, " "))) }
	item := func(texts ...string) { b.WriteString(wrapped("- ", "  ", strings.Join(texts, " "))) }
	line(`<!-- Written by the test in test/clients: go test ./clients -update. Edit there. -->`)
	line(``)
	line(`# What LiveKit's clients send, and what is recorded`)
	line(``)
	para("Every send method of LiveKit's SDKs was tested with the real clients, a real LiveKit",
		servers.LiveKit.Version, "server and the real recorder: alone with the hidden recorder,",
		"together with current clients, and together with older ones. The record is the same in",
		"all three, unless the table says otherwise. Every byte of text, files, names and",
		"attributes was compared with what was sent.")
	line(``)
	para("The words in the table are the `kind` of the lines in `events.jsonl`",
		"([FORMAT.md](FORMAT.md)); the bytes of a `byte_stream` are a file in `files/`. **no**: it",
		"does not reach a recorder, see [below](#what-does-not-reach-a-recorder). –: this version",
		"has no such method.")
	line(``)
	titles := make([]string, len(sdks))
	for i, k := range sdks {
		titles[i] = k.title
	}
	line("| sent with | %s |\n|---|%s", strings.Join(titles, " | "),
		strings.Repeat("---|", len(sdks)))
	for _, r := range rows {
		cells := make([]string, len(sdks))
		for i, k := range sdks {
			cells[i] = f.cell(r.method, k.id)
		}
		line("| %s | %s |", r.title, strings.Join(cells, " | "))
	}
	line(``)
	for _, k := range sdks {
		item(fmt.Sprintf("*%s*: %s.", k.title, k.what))
	}
	line(``)
	line("Notes:")
	line(``)
	item("The chat box sends every message twice, for old clients. Both are recorded; the copy has",
		"`copy_of`, and the text view omits it.")
	item("An edited chat message is a separate line with the `id` of the first one and",
		"`edit_timestamp_ms`.")
	item("Lossy data and data tracks can be lost on the way from the sender to the server. No",
		"lossy data is lost between server and recorder. LiveKit 1.13 drops packets of data tracks",
		"for each receiver if they come faster than it can forward them, mostly parts of frames of",
		"more than 16 kB; `rtc: {datachannel_data_track_target_latency: 0s}` in its configuration",
		"disables that.")
	item("A frame of a data track has one line for each of its packets, with the track's name as",
		"`topic`. A packet identifies its track by a number. Frames that came before the server",
		"had said which track that is (the line `data_track_subscribed`) have neither topic nor",
		"sender.")
	item("`RoomService.SendData` has no sender: the lines have no `identity`.")
	item("Files attached to a text are `byte_stream` lines; the text's line names them in",
		"`attached_stream_ids`. The Go SDK sends no name for them.")
	item("A stream of unknown length (`streamText`, `streamBytes`) can be `\"complete\": false`",
		"with the reason `unproved` although nothing is missing. This happens when its sender also",
		"sent something that does not reach the recorder, such as the response to a call: the gap",
		"in the sender's numbers could as well be the stream's last part. What was received is",
		"recorded.")
	item("Python 1.0.6 does not number its packets, and counts the chunks of files from 1. Streams",
		"whose length it announces (`send_text`, `send_file`) are proved complete by that length.",
		"The others (`stream_text`, `stream_bytes`, transcriptions of agents) cannot be proved",
		"complete: `\"complete\": false`, with the reason `unproved`, or `missing_chunks` for",
		"bytes. What was received is recorded. 1.2.1 numbers its packets.")
	line(``)
	line("## How streams travel")
	line(``)
	para("Which form a current client uses depends on who is in the room. The recorder is hidden",
		"and cannot be asked; it understands all of them. *chunk(s)*: header, chunks, trailer.",
		"*inline*: one packet. *deflate*: compressed.")
	line(``)
	line("| sent with | client | %s | %s | %s |\n|---|---|---|---|---|", settings[0].title,
		settings[1].title, settings[2].title)
	for _, r := range rows {
		for _, k := range sdks {
			if forms := f.forms[r.method][k.id]; formsV1[r.method] != "" && len(forms) > 0 {
				cells := make([]string, len(settings))
				for i, s := range settings {
					if cells[i] = forms[s.name]; cells[i] == "" {
						cells[i] = "–"
					}
				}
				line("| %s | %s | %s |", r.title, k.title, strings.Join(cells, " | "))
			}
		}
	}
	line(``)
	line("## End-to-end encrypted rooms")
	line(``)
	para("With the SDKs' encryption of data and a shared passphrase. If the project's",
		"configuration has the key (`E2EE_KEY`), the record is what it is without encryption.",
		"Otherwise every packet is a line of kind `encrypted`, with sender and time, and the",
		"ciphertext is in the raw segments; `textegress export --from … --e2ee-key-file` derives",
		"the same record later. Every byte of both was compared:")
	line(``)
	line("| sent with | %s | %s | %s |\n|---|---|---|---|", title(encryptedMembers[0]),
		title(encryptedMembers[1]), title(encryptedMembers[2]))
	for _, r := range rows {
		if encryptedMethods[r.method] {
			cells := make([]string, len(encryptedMembers))
			for i, id := range encryptedMembers {
				cells[i] = show(f.kinds[r.method][id][encrypted])
			}
			line("| %s | %s |", r.title, strings.Join(cells, " | "))
		}
	}
	line(``)
	para("livekit-client encrypts only after its event `ParticipantEncryptionStatusChanged`, which",
		"comes a moment after it has connected: what an app sends before is sent, and recorded, in",
		"clear.")
	line(``)
	line("## What does not reach a recorder")
	line(``)
	line("| sent with | why | what an app can do |\n|---|---|---|")
	for _, r := range rows {
		reason, ok := reasons[r.method]
		for _, k := range sdks {
			for _, kinds := range f.kinds[r.method][k.id] {
				if kinds == none && !ok {
					t.Errorf("%s does not reach the recorder, and no reason is given", r.method)
				}
			}
		}
		if ok {
			line("| %s | %s | %s |", r.title, reason[0], reason[1])
		}
	}
	return b.Bytes()
}

// wrapped is text in lines of at most 100 columns that begin with first, then with indent.
func wrapped(first, indent, text string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			b.WriteString(first)
			column = len(first)
		case column+1+n > 100:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String() + "\n"
}

// cell is what is in the record, with the settings where it differs.
func (f *findings) cell(method string, id sdkID) string {
	found := f.kinds[method][id]
	if found == nil {
		return "–"
	}
	var first string
	var rest []string
	for _, s := range settings {
		kinds, ok := found[s.name]
		switch {
		case !ok:
		case first == "":
			first = show(kinds)
		case show(kinds) != first:
			rest = append(rest, s.title+": "+show(kinds))
		}
	}
	return strings.Join(append([]string{first}, rest...), "; ")
}

func show(kinds string) string {
	if kinds == none || kinds == "" {
		return "**no**"
	}
	return "`" + strings.ReplaceAll(kinds, ", ", "` `") + "`"
}

func title(id sdkID) string {
	for _, k := range sdks {
		if k.id == id {
			return k.title
		}
	}
	return string(id)
}
