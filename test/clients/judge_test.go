package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
)

// lines are the messages in the record that belong to what one sender did with one method. A
// method's topic is its name, where it has a topic.
func (j job) lines(messages []textegress.Message, method string) []textegress.Message {
	belongs := func(m textegress.Message) bool { return m.Topic == method }
	switch method {
	case "data-track":
		belongs = func(m textegress.Message) bool {
			return m.Kind == textegress.KindDataTrack &&
				m.Topic == "positions"
		}
	case "publish-no-topic":
		belongs = func(m textegress.Message) bool {
			return m.Kind == textegress.KindData &&
				m.Topic == ""
		}
	case "chat":
		belongs = func(m textegress.Message) bool {
			return m.Kind == textegress.KindChat &&
				string(m.Payload()) != j.Chat
		}
	case "components-chat":
		belongs = func(m textegress.Message) bool {
			return m.Topic == "lk.chat" || m.Topic == "lk-chat-topic" ||
				m.Kind == textegress.KindChat && string(m.Payload()) == j.Chat
		}
	case "send-text-addressed":
		belongs = func(m textegress.Message) bool {
			return m.Topic == method || m.Stream != nil &&
				m.Stream.Incomplete == textegress.StreamNoHeader
		}
	case "transcription":
		belongs = func(m textegress.Message) bool { return m.Kind == textegress.KindTranscription }
	case "transcription-stream":
		belongs = func(m textegress.Message) bool { return m.Topic == "lk.transcription" }
	case "dtmf":
		belongs = func(m textegress.Message) bool { return m.Kind == textegress.KindSIPDTMF }
	case "rpc":
		belongs = func(m textegress.Message) bool {
			return m.Kind == textegress.KindRPC || strings.HasPrefix(m.Topic, "lk.rpc")
		}
	case "metrics":
		belongs = func(m textegress.Message) bool { return m.FieldName == "metrics" }
	}
	var lines []textegress.Message
	for _, m := range messages {
		if m.Identity == j.identity() && !m.Kind.IsEvent() && belongs(m) {
			lines = append(lines, m)
		}
	}
	return lines
}

// identity is that of the sender in the record.
func (j job) identity() string {
	if j.sdk.id == server {
		return ""
	}
	return string(j.sdk.id)
}

func kinds(lines []textegress.Message) string {
	set := map[string]bool{}
	for _, m := range lines {
		set[string(m.Kind)] = true
	}
	if len(set) == 0 {
		return none
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// judge compares the record of one sender with the table and with what was sent.
func (g *group) judge(t *testing.T, j job, results map[string]string, found *findings) {
	seen := 0
	for _, row := range rows {
		want, has := row.want[j.sdk.id]
		if special, ok := exceptions[exception{g.setting, j.sdk.id, row.method}]; ok {
			want = special
		}
		result, tried := results[row.method]
		lines := j.lines(g.messages, row.method)
		if row.method != "data-track" {
			seen += len(lines)
		}
		switch {
		case !tried:
			if len(lines) > 0 {
				t.Errorf("%s: %s in the record, and nothing was sent", row.method, kinds(lines))
			}
		case !has && result != notInVersion && result != noPeer, has && result == notInVersion:
			t.Errorf("%s: %s, and the table has %q", row.method, result, want)
		case has && (j.Peer != "" || !needsPeer[row.method]):
			if got := kinds(lines); got != want {
				t.Errorf("%s: %s in the record, want %s (peer %q, recorder %q)", row.method, got,
					want, j.Peer, j.Recorder)
			} else if want != none {
				t.Run(row.method, func(t *testing.T) { g.content(t, j, row.method, lines) })
			}
			if form, want := g.wire.forms(j.identity(), row.method),
				wantForms(g, j.sdk.id)[row.method]; want != "" && form != want {
				t.Errorf("%s: the stream travelled as %q, want %q", row.method, form, want)
			}
			found.add(g, j, row.method, kinds(lines))
		}
	}
	var all []string
	for _, m := range g.messages {
		if m.Identity == j.identity() && !m.Kind.IsEvent() && m.Topic != probe &&
			m.Kind != textegress.KindDataTrack {
			b := m.AppendJSON(nil)
			all = append(all, string(b[:min(700, len(b))]))
		}
	}
	if len(all) != seen+1 { // and the message that ends
		t.Errorf("%d lines in the record, of which %d are explained:\n%s", len(all), seen+1,
			strings.Join(all, "\n"))
	}
}

// content compares every byte.
func (g *group) content(t *testing.T, j job, method string, lines []textegress.Message) {
	t.Helper()
	for _, m := range lines {
		if encrypted := m.Encryption != nil &&
			m.Encryption.Decrypted; encrypted != (j.Passphrase != "") && !isPart(m) {
			t.Errorf("line %d: decrypted %v", m.N, encrypted)
		}
		if (j.sdk.id == py10 || j.sdk.id == server) && m.Sequence != 0 {
			t.Errorf("line %d: number %d", m.N, m.Sequence)
		}
		if (m.ParticipantSID == "") != (j.sdk.id == server) {
			t.Errorf("line %d: sid %q", m.N, m.ParticipantSID)
		}
	}
	switch method {
	case "publish-lossy", "publish-reliable", "publish-no-topic", "publish-addressed-too":
		g.equal(t, one(t, lines), []byte(j.Short))
		if r := lines[0].Reliable; r == nil || *r != (method != "publish-lossy") {
			t.Errorf("reliable: %v", r)
		}
	case "publish-bytes":
		g.equal(t, one(t, lines), j.Binary)
	case "send-text-short":
		g.text(t, one(t, lines), j.Short, j.Attributes)
	case "send-text-long":
		g.text(t, one(t, lines), j.Long, j.Attributes)
	case "send-text-addressed":
		// Without the header nobody can say what it is; the bytes are kept.
		m, sent := one(t, lines), j.Short
		if j.sdk.id == py10 {
			sent = "" // all but the end was addressed
		}
		if m.Stream.Complete || (m.Stream.File == "") != (sent == "") {
			t.Errorf("the stream is described as %+v", *m.Stream)
		}
		g.equal(t, m, []byte(sent))
	case "stream-text":
		g.text(t, one(t, lines), strings.Join(j.Parts, ""), j.Attributes)
	case "send-text-attachments":
		g.attachments(t, j, lines)
	case "send-file":
		g.file(t, one(t, lines), j.FileName, "image/png", j.File, nil)
	case "send-bytes":
		g.file(t, one(t, lines), j.FileName, "application/octet-stream", j.Binary, j.Attributes)
	case "stream-bytes":
		g.file(t, one(t, lines), j.FileName, "application/octet-stream", j.File, j.Attributes)
	case "chat":
		g.chat(t, j, lines)
	case "components-chat":
		g.componentsChat(t, j, lines)
	case "transcription":
		want := &textegress.TranscriptionInfo{
			ParticipantIdentity: string(j.sdk.id), TrackID: "TR_microphone",
			Segments: []textegress.TranscriptionSegment{{
				ID: "SG_1", Text: j.Short, StartTime: 1000,
				EndTime: 2500, Final: true, Language: "en",
			}},
		}
		if diff := cmp.Diff(want, one(t, lines).Transcription); diff != "" {
			t.Error(diff)
		}
	case "transcription-stream":
		g.transcriptionStream(t, j, lines)
	case "dtmf":
		if diff := cmp.Diff(&textegress.SIPDTMFInfo{Code: 5, Digit: "5"},
			one(t, lines).SIPDTMF); diff != "" {
			t.Error(diff)
		}
	case "data-track":
		g.dataTrack(t, j, lines)
	default:
		t.Errorf("nothing is known of the content of %s", method)
	}
}

func one(t *testing.T, lines []textegress.Message) textegress.Message {
	t.Helper()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	return lines[0]
}

// equal compares the payload of a line, or the file that it names.
func (g *group) equal(t *testing.T, m textegress.Message, want []byte) {
	t.Helper()
	got := m.Payload()
	if m.Stream != nil && m.Stream.File != "" {
		got = must(os.ReadFile(filepath.Join(g.dir, filepath.FromSlash(m.Stream.File))))(t)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("line %d has %d bytes %.60q, want %d bytes %.60q", m.N, len(got), got, len(want),
			want)
	}
}

// stream compares a whole stream.
func (g *group) stream(t *testing.T, m textegress.Message, want []byte, mimeType string,
	attributes map[string]string,
) {
	t.Helper()
	s := m.Stream
	if s == nil {
		t.Fatalf("line %d has no stream", m.N)
	}
	if reason := unprovable[sdkID(m.Identity)][m.Topic]; s.Incomplete != reason ||
		s.Complete != (reason == "") {
		t.Errorf("the stream is complete: %t, incomplete: %q; want %q", s.Complete, s.Incomplete,
			reason)
	}
	g.equal(t, m, want)
	// A length of 0 is what some senders write where they do not know it.
	if s.MIMEType != mimeType || s.ID == "" || s.SentMS == 0 || s.StartedUnixNS == 0 ||
		s.TotalLength != nil && *s.TotalLength != 0 && *s.TotalLength != uint64(len(want)) {
		b, _ := json.Marshal(s)
		t.Errorf("the stream is described as %s", b)
	}
	if len(attributes)+len(s.Attributes) > 0 && !maps.Equal(s.Attributes, attributes) {
		t.Errorf("attributes %q, want %q", s.Attributes, attributes)
	}
}

func (g *group) text(t *testing.T, m textegress.Message, want string,
	attributes map[string]string,
) {
	t.Helper()
	g.stream(t, m, []byte(want), "text/plain", attributes)
}

func (g *group) file(t *testing.T, m textegress.Message, name, mimeType string, want []byte,
	attributes map[string]string,
) {
	t.Helper()
	g.stream(t, m, want, mimeType, attributes)
	if m.Stream.Name != name || m.Stream.File == "" {
		t.Errorf("the file is called %q (%q), want %q", m.Stream.Name, m.Stream.File, name)
	}
}

func (g *group) attachments(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	if len(lines) != 3 {
		t.Fatalf("%d lines, want a text and two files", len(lines))
	}
	byID := map[string]textegress.Message{}
	var text textegress.Message
	for _, m := range lines {
		byID[m.Stream.ID] = m
		if m.Kind == textegress.KindTextStream {
			text = m
		}
	}
	g.text(t, text, j.Short, nil)
	ids := text.Stream.AttachedStreamIDs
	if len(ids) != 2 {
		t.Fatalf("the text names the attachments %q, want 2", ids)
	}
	notes, plan := byID[ids[0]], byID[ids[1]]
	if notes.Stream == nil || plan.Stream == nil {
		t.Fatalf("the text names the attachments %q, which are not in the record", ids)
	}
	notesName, planName, notesType := "notes.txt", j.FileName, "text/plain"
	if j.sdk.id == goSDK { // it sends no name for an attachment, and the type of its ending
		notesName, planName, notesType = "", "", "text/plain; charset=utf-8"
	}
	g.file(t, notes, notesName, notesType, j.Binary, nil)
	g.file(t, plan, planName, "image/png", j.File, nil)
}

func (g *group) chat(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	if len(lines) != 2 {
		t.Fatalf("%d lines, want a message and its edit", len(lines))
	}
	message, edit := lines[0], lines[1]
	g.equal(t, message, []byte(j.Short))
	g.equal(t, edit, []byte(j.Edited))
	a, b := message.Chat, edit.Chat
	if a.ID == "" || a.ID != b.ID || a.TimestampMS == 0 || a.EditTimestampMS != 0 ||
		b.EditTimestampMS == 0 {
		t.Errorf("the message is %+v, its edit %+v", *a, *b)
	}
}

// componentsChat checks the message, and the copy that the components send for old clients.
func (g *group) componentsChat(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	var original, legacy textegress.Message
	copies := 0
	for _, m := range lines {
		if m.Kind == textegress.KindData {
			legacy = m
			copies++
		} else {
			original = m
		}
	}
	if copies != 1 || len(lines) != 2 {
		t.Fatalf("%d lines, %d of them copies; want a message and its copy", len(lines), copies)
	}
	g.equal(t, original, []byte(j.Chat))
	if original.Kind == textegress.KindTextStream {
		g.text(t, original, j.Chat, original.Stream.Attributes)
	}
	if legacy.CopyOf != original.N || !strings.Contains(string(legacy.Payload()), j.ID) {
		t.Errorf("line %d %.80q is a copy of line %d, want %d", legacy.N, legacy.Payload(),
			legacy.CopyOf, original.N)
	}
	views := must(filepath.Glob(filepath.Join(g.dir, "*UTC.txt")))(t)
	shown := 0
	for _, view := range views {
		shown += bytes.Count(must(os.ReadFile(view))(t), []byte(j.Chat))
	}
	if shown != 1 {
		t.Errorf("the text views show the message %d times, want once", shown)
	}
}

func (g *group) transcriptionStream(t *testing.T, j job, lines []textegress.Message) {
	t.Helper()
	if len(lines) != 2 {
		t.Fatalf("%d lines, want an interim and a final text", len(lines))
	}
	for i, said := range []string{j.Parts[0], j.Short} {
		final := i == 1
		g.text(t, lines[i], said, map[string]string{
			"lk.segment_id": "SG_2", "lk.transcription_final": fmt.Sprint(final),
			"lk.transcribed_track_id": "TR_microphone",
		})
		tr := lines[i].Transcription
		if tr == nil || tr.TrackID != "TR_microphone" || len(tr.Segments) != 1 ||
			tr.Segments[0].ID != "SG_2" || tr.Segments[0].Final != final {
			t.Errorf("line %d is shown as %+v", lines[i].N, tr)
		}
	}
}
