package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/report"
	"github.com/syncflow/textegress/internal/report/reporttest"
)

func render(t *testing.T, c reporttest.Class) string {
	t.Helper()
	s, err := c.Render()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReport(t *testing.T) {
	s := render(t, reporttest.New(30, time.Hour))
	for _, want := range []string{
		"<h1><bdi>class-7a</bdi></h1>",
		"Outage 14 s, 2 people may be affected",
		"<dt>sent nothing</dt><dd>1</dd>",
		"<b>▲1 outage</b> from 09:25:00 for 14 s: LiveKit was no longer heard",
		"27 continued without a missing number and 2 with missing numbers",
		"in the room 09:35:00 to the end", // the late joiner
		"to 09:45:00",                     // the one who left early
		`tutor</bdi> <span class="tl-kind">agent`,
		"pd.read_json(&#34;events.jsonl&#34;", "stream_in(file(",
		"textegress (recording DE_7Qm2xYbV4cKd) from 2026-03-11 09:05:00 UTC to 2026-03-11 " +
			"10:05:00 UTC (1 h)",
		"alice/s1-plant.jpg",
	} {
		if !strings.Contains(s, strings.ReplaceAll(want, "&#34;", `"`)) {
			t.Errorf("%q is not in the report", want)
		}
	}
	if strings.Contains(s, "more light") {
		t.Error("it contains a message")
	}
}

// The sizes are those that docs/FORMAT.md states.
func TestSize(t *testing.T) {
	if n := len(render(t, reporttest.New(30, time.Hour))); n > 300_000 {
		t.Errorf("a class of 30 and an hour: %d bytes", n)
	}
	if n := len(render(t, reporttest.New(150, 2*time.Hour))); n > 300_000 {
		t.Errorf("150 people and two hours: %d bytes", n)
	}
	// The worst of everything.
	c := reporttest.New(150, 2*time.Hour)
	long := strings.Repeat("学<", 300)
	for i := range c.Lines {
		m := &c.Lines[i]
		m.Topic = long + fmt.Sprint(i)
		if m.Identity != "" {
			m.Identity = long + m.Identity
		}
		if e := m.Event; e != nil && e.Identity != "" {
			e.Identity, e.Name = long+e.Identity, long
		}
	}
	for range 500 {
		m := &c.Manifest
		m.Completeness.Outages = append(m.Completeness.Outages, m.Completeness.Outages[0])
		m.Completeness.ClockSteps = append(m.Completeness.ClockSteps,
			textegress.ClockStep{EgressID: long})
		m.Merged = append(m.Merged, textegress.MergedRecording{EgressID: long, Instance: long})
		m.Objects = append(m.Objects, textegress.Object{Key: "files/" + long})
	}
	for i := range c.Manifest.Completeness.Connections {
		c.Manifest.Completeness.Connections[i].Identity = long
	}
	if n := len(render(t, c)); n > 1_000_000 {
		t.Errorf("the worst: %d bytes", n)
	}
}

// The document runs nothing and loads nothing, and its policy says so: it allows the one style
// sheet by its hash.
func TestPolicy(t *testing.T) {
	s := render(t, reporttest.New(3, time.Minute))
	styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(s, -1)
	if len(styles) != 1 {
		t.Fatalf("%d style sheets", len(styles))
	}
	sum := sha256.Sum256([]byte(styles[0][1]))
	policy := `http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-` +
		base64.StdEncoding.EncodeToString(sum[:]) + `'; base-uri 'none'; form-action 'none'"`
	if !strings.Contains(s, policy) {
		t.Errorf("no %s", policy)
	}
	for _, bad := range []string{"<script", " style=", " src=", "http://", "https://", "url(", "@import"} {
		if strings.Contains(s, bad) {
			t.Errorf("%q is in the report", bad)
		}
	}
}

func TestHostileNames(t *testing.T) {
	c := reporttest.New(3, time.Minute)
	const evil = `</style><script>alert(1)</script><img src=x onerror="alert(1)">`
	for i := range c.Lines {
		c.Lines[i].Topic = evil
		if e := c.Lines[i].Event; e != nil && e.Identity != "" {
			e.Identity, e.Name, e.ParticipantKind, e.Cause = evil, evil, evil, evil
		}
	}
	m := &c.Manifest
	m.Project.Name, m.Session.RoomName, m.Session.ID, m.EgressID = evil, evil, evil, evil
	m.Instance, m.Previous, m.Reason, m.ServerVersions = evil, evil, evil, []string{evil}
	m.Completeness.Outages[0].Cause = evil
	m.Objects = append(m.Objects, textegress.Object{Key: "files/" + evil})
	for i := range m.Completeness.Connections {
		m.Completeness.Connections[i].Identity = evil
	}
	s := render(t, c)
	if strings.Contains(s, "<script") || strings.Contains(s, "<img") ||
		strings.Count(s, "</style") != 1 {
		t.Error("a name is not escaped")
	}
}

func TestEmpty(t *testing.T) {
	var b strings.Builder
	m := textegress.Manifest{Status: textegress.StatusAborted, Reason: "session_ended"}
	if err := report.New().Write(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Over before the recorder could join", "The session could not be recorded",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "<table class=\"tl-table") {
		t.Error("an empty timeline is shown")
	}
}

// Copies for old clients are not counted as messages.
func TestCopies(t *testing.T) {
	c := reporttest.New(3, time.Minute)
	want := render(t, c)
	add := c.Lines[len(c.Lines)/2]
	for add.Kind.IsEvent() {
		t.Fatal("this tests nothing")
	}
	add.CopyOf = add.N
	c.Lines = append(c.Lines, add)
	got := render(t, c)
	got = strings.Replace(got, " Not counted: 1 copy of chat messages, which LiveKit's components "+
		"send twice.", "", 1)
	if got != want {
		t.Error("a copy is counted")
	}
}
