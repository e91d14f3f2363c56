package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/statement"
	"github.com/syncflow/textegress/internal/timeline"
)

// kinds names the kinds of messages for people.
var kinds = map[textegress.Kind]string{
	textegress.KindData:          "data",
	textegress.KindChat:          "chat",
	textegress.KindTranscription: "transcription",
	textegress.KindTextStream:    "text stream",
	textegress.KindByteStream:    "file",
	textegress.KindDataTrack:     "data track",
	textegress.KindRPC:           "remote call",
	textegress.KindSIPDTMF:       "DTMF tone",
	textegress.KindEncrypted:     "encrypted",
	textegress.KindUnknown:       "not decoded",
}

func kindName(k textegress.Kind) string { return cmp.Or(kinds[k], shown(string(k))) }

// cross fills the table of participants and topics.
func (r *Report) cross(x *data, d timeline.Data) {
	topics := r.busiest()
	columns := topics
	if len(columns) > shownColumns {
		columns = columns[:shownColumns-1]
	}
	for _, t := range columns {
		x.Columns = append(x.Columns, column{shown(t.topic), kindName(t.kind)})
	}
	rest := len(topics) > len(columns) || r.other > 0
	if rest {
		x.Columns = append(x.Columns, column{"", "other topics"})
	}
	lanes := slices.Clone(d.Lanes)
	slices.SortStableFunc(lanes, func(a, b timeline.Lane) int {
		return cmp.Compare(b.Messages, a.Messages)
	})
	if len(lanes) > shownLanes {
		x.RowsOmitted = len(lanes) - shownLanes
		lanes = lanes[:shownLanes]
	}
	x.RowsOmitted += d.Omitted
	for _, l := range lanes {
		out := row{
			Who: shown(l.Who), Name: shown(l.Name), Kind: shown(l.Kind), Present: present(l),
			Total: statement.Number(l.Messages),
		}
		left := l.Messages
		for _, t := range columns {
			n := r.pairs[pair{t, l.Who}]
			left -= min(n, left)
			out.Cells = append(out.Cells, cell(n))
		}
		if rest {
			out.Cells = append(out.Cells, cell(left))
		}
		x.Rows = append(x.Rows, out)
	}
}

func cell(n uint64) string {
	if n == 0 {
		return "·"
	}
	return statement.Number(n)
}

// present returns how long a participant was in the room.
func present(l timeline.Lane) string {
	if len(l.Present) == 0 {
		return "–"
	}
	total := time.Duration(0)
	for _, p := range l.Present {
		total += p.To.Sub(p.From)
	}
	text := statement.Length(total.Round(time.Second))
	if n := len(l.Present); n > 1 {
		text += ", " + statement.Number(n) + " times"
	}
	return text
}

// topicTable fills the table of topics.
func (r *Report) topicTable(x *data) {
	topics := r.busiest()
	omitted, messages := 0, r.other
	for i, t := range topics {
		if i >= shownTopics {
			omitted, messages = omitted+1, messages+t.messages
			continue
		}
		senders := statement.Number(t.senders)
		if t.more {
			senders = "≥ " + senders
		}
		x.Topics = append(x.Topics, topicRow{
			shown(t.topic), kindName(t.kind), statement.Number(t.messages), senders,
			statement.Bytes(t.bytes),
		})
	}
	if messages > 0 {
		x.TopicsOmitted = "Further topics: " + statement.Count(messages, "message") + "."
	}
}

// files fills the tables of objects. The raw segments are named without their size: they may be
// written later than the report.
func (x *data) files(m textegress.Manifest) {
	var texts, received struct {
		n    int
		size int64
	}
	sizes := map[string]int64{}
	lines := ""
	for _, o := range m.Objects {
		switch {
		case o.Key == textegress.EventsName && o.Messages != nil:
			lines = statement.Count(*o.Messages, "line")
			sizes[o.Key] = o.Size
		case strings.HasPrefix(o.Key, textegress.FilesDir):
			received.n++
			received.size += o.Size
			if received.n <= shownFiles {
				x.Received = append(x.Received, receivedRow{
					shown(strings.TrimPrefix(o.Key, textegress.FilesDir)),
					statement.Bytes(o.Size),
				})
			}
		case strings.HasSuffix(o.Key, ".txt") && !strings.Contains(o.Key, "/"):
			texts.n++
			texts.size += o.Size
		case !strings.HasPrefix(o.Key, textegress.RawDir):
			sizes[o.Key] = o.Size
		}
	}
	add := func(key, what, size string) { x.Files = append(x.Files, fileRow{key, what, size}) }
	if size, ok := sizes[textegress.EventsName]; ok {
		add(textegress.EventsName, "everything, one JSON object per line, in the order of arrival: "+
			lines, statement.Bytes(size))
	}
	if texts.n > 0 {
		add("….txt", "what each participant wrote, for reading: "+statement.Count(texts.n, "file"),
			statement.Bytes(texts.size))
	}
	if received.n > 0 {
		add(textegress.FilesDir, "what participants sent as files, and long texts: "+
			statement.Count(received.n, "file"), statement.Bytes(received.size))
	}
	if !m.Pseudonyms {
		add(textegress.RawDir, "the packets as they came, from which everything else can be "+
			"derived again", "")
	}
	if size, ok := sizes[textegress.MetadataName]; ok {
		add(textegress.MetadataName, "room, project and times", statement.Bytes(size))
	}
	add(textegress.ManifestName, "the account of completeness, and the SHA-256 of every file", "")
	if more := received.n - len(x.Received); more > 0 {
		x.ReceivedOmitted = "and " + statement.Count(more, "further file")
	}
}

// accounts fills the list of connections.
func (x *data) accounts(m textegress.Manifest) {
	list := m.Completeness.Connections
	for i, c := range list {
		if i == shownConns {
			x.AccountsOmitted = statement.Count(len(list)-i, "further connection")
			break
		}
		c.Identity, c.ParticipantSID = shown(c.Identity), shown(c.ParticipantSID)
		x.Accounts = append(x.Accounts, account{statement.Who(c), statement.Account(c)})
	}
}
