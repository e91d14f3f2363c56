package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/statement"
	"github.com/syncflow/textegress/internal/timeline"
)

//go:embed report.html.tmpl
var source string

//go:embed report.css
var css string

// style is the content of the style element. The policy of the document allows it by its hash.
func style() string { return "\n" + css + timeline.CSS }

// page is the template. The policy is a constant of this program, and part of the source because
// package template accepts no policy from data.
var page = template.Must(template.New(Name).Parse(strings.Replace(source, "STYLE-HASH",
	hash(style()), 1)))

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const (
	shownTopics  = 50
	shownColumns = 6
	shownFiles   = 60
	shownConns   = 200

	shownSentences = 100
)

// data is what the template shows.
type data struct {
	Style              template.CSS
	Room, Project      string
	Day, From, To      string
	Length             string
	Part               int
	Phrase             string
	Level, Sign        string
	Aside              string
	Facts              []fact
	Timeline           template.HTML
	Sentences          []string
	Columns            []column
	Rows               []row
	RowsOmitted        int
	Topics             []topicRow
	TopicsOmitted      string
	Copies             string
	Files              []fileRow
	Received           []receivedRow
	ReceivedOmitted    string
	Accounts           []account
	AccountsOmitted    string
	Methods            string
	Pseudonyms         bool
	EgressID           string
	SessionID          string
	Previous, Instance string
	Servers            string
	Recorded           bool // the recorder was in the room
}

type fact struct{ Value, Name string }

type column struct{ Topic, Kind string }

type row struct {
	Who     string
	Name    string
	Kind    string
	Present string
	Cells   []string
	Total   string
}

type topicRow struct{ Topic, Kind, Messages, Senders, Size string }

type fileRow struct{ Key, What, Size string }

type receivedRow struct{ Key, Size string }

type account struct{ Who, Text string }

// Write writes the report. m is the manifest as it is delivered; its raw objects, and those that
// are written after the report, need not be listed.
func (r *Report) Write(w io.Writer, m textegress.Manifest) error {
	d := r.lines.Data(time.Time{})
	text, level := statement.Phrase(m)
	x := data{
		Style: template.CSS(style()), //nolint:gosec // a constant
		Room:  shown(m.Session.RoomName), Project: shown(m.Project.Name),
		Part: m.Part, Phrase: upper(text), Level: string(level), Sign: signs[level],
		Sentences: statement.Sentences(m), Methods: statement.Methods(m),
		Pseudonyms: m.Pseudonyms, EgressID: shown(m.EgressID), SessionID: shown(m.Session.ID),
		Previous: shown(m.Previous), Instance: shown(m.Instance),
		Servers:  shown(strings.Join(m.ServerVersions, ", ")),
		Recorded: m.Completeness.Join.JoinedUnixNS != 0,
	}
	x.Sentences = x.Sentences[:min(len(x.Sentences), shownSentences)]
	for i, s := range x.Sentences {
		x.Sentences[i] = shownLong(s)
	}
	x.when(m, d)
	x.facts(m, r, d)
	if len(d.Lanes) > 0 {
		var figure strings.Builder
		if err := d.Figure(&figure, timeline.Options{Lanes: shownLanes}); err != nil {
			return err
		}
		x.Timeline = template.HTML(figure.String()) //nolint:gosec // Figure escapes what it shows
	}
	r.cross(&x, d)
	r.topicTable(&x)
	x.files(m)
	x.accounts(m)
	return page.Execute(w, x)
}

var signs = map[statement.Level]string{
	statement.OK: "✓", statement.Warn: "▲", statement.Bad: "✕",
}

// when sets day and times. Those of the manifest are the recorder's; without them, the lines'.
func (x *data) when(m textegress.Manifest, d timeline.Data) {
	from, to := d.From, d.To
	if m.StartedUnixNS != 0 {
		from = time.Unix(0, m.StartedUnixNS).UTC()
	}
	if m.EndedUnixNS != 0 {
		to = time.Unix(0, m.EndedUnixNS).UTC()
	}
	if from.IsZero() || to.IsZero() {
		return
	}
	x.Day = from.Format("Monday, 2 January 2006")
	x.From, x.To = from.Format("15:04:05"), to.Format("15:04:05")
	if to.Format(time.DateOnly) != from.Format(time.DateOnly) {
		x.To = to.Format("2 January 2006, 15:04:05")
	}
	// The lines' times are by one clock, even if it was set.
	length := to.Sub(from)
	if d.ClockSet {
		length = d.To.Sub(d.From)
	}
	x.Length = statement.Length(max(length, 0).Round(time.Second))
}

func (x *data) facts(m textegress.Manifest, r *Report, d timeline.Data) {
	people, silent := 0, 0
	for _, l := range d.Lanes {
		if l.Who == "" {
			continue
		}
		people++
		if l.Messages == 0 {
			silent++
		}
	}
	people += d.Omitted
	outages := len(m.Completeness.Outages)
	x.Facts = []fact{
		{x.Length, "recorded"},
		{statement.Number(people), plural(people, "participant")},
	}
	if silent > 0 {
		x.Facts = append(x.Facts, fact{statement.Number(silent), "sent nothing"})
	}
	x.Facts = append(x.Facts, fact{
		statement.Number(r.messages),
		plural(int(min(r.messages, 2)), "message"),
	},
		fact{statement.Number(outages), plural(outages, "outage")},
		fact{statement.Bytes(m.Counts.Bytes), "received"})
	if r.copies > 0 {
		x.Copies = statement.Count(r.copies, "copy")
		if r.copies > 1 {
			x.Copies = statement.Number(r.copies) + " copies"
		}
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// shown prepares a name for people.
func shown(s string) string { return timeline.Shown(s) }

// shownLong prepares a sentence: it bounds what others chose in it.
func shownLong(s string) string {
	const limit = 2000
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
