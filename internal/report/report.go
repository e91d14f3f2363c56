// Package report writes report.html: a recording for people, as one file that needs nothing else.
// It says in words what was captured, shows presence, messages and outages over time, and counts
// messages by participant and topic.
//
// A report is a function of the manifest and the lines of events.jsonl. It contains no message, and
// under pseudonyms no name, because those have none.
package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/timeline"
)

// Name is the name of the object, relative to the prefix of a recording.
const Name = textegress.ReportName

const (
	maxTopics  = 200 // counted separately
	maxPairs   = 40_000
	maxTopic   = 1024 // bytes
	maxLanes   = 200
	shownLanes = 100
)

// Report collects what the report of one recording needs. Its size is bounded.
type Report struct {
	lines    *timeline.Collector
	topics   map[subject]*topic
	order    []*topic
	pairs    map[pair]uint64
	other    uint64 // messages on further topics
	copies   uint64
	messages uint64
}

// subject is a topic as one kind of message.
type subject struct {
	kind  textegress.Kind
	topic string
}

type topic struct {
	subject

	messages uint64
	bytes    int64
	senders  int
	more     bool // there may be more senders
}

type pair struct {
	topic *topic
	who   string
}

// New returns a report without lines.
func New() *Report {
	return &Report{
		lines:  timeline.NewCollector(timeline.Limits{Lanes: maxLanes}),
		topics: map[subject]*topic{}, pairs: map[pair]uint64{},
	}
}

// Add adds the next line. It keeps nothing of m.
func (r *Report) Add(m *textegress.Message) {
	r.lines.Add(m)
	switch {
	case m.Kind.IsEvent():
		return
	case m.CopyOf != 0:
		r.copies++
		return
	}
	r.messages++
	t := r.topic(subject{m.Kind, m.Topic})
	if t == nil {
		r.other++
		return
	}
	t.messages++
	t.bytes += size(m)
	p := pair{t, m.Identity}
	n, known := r.pairs[p]
	switch {
	case known:
		r.pairs[p] = n + 1
	case len(r.pairs) < maxPairs && len(m.Identity) <= maxTopic:
		p.who = strings.Clone(p.who)
		r.pairs[p] = 1
		t.senders++
	default:
		t.more = true
	}
}

func size(m *textegress.Message) int64 {
	if m.Stream != nil {
		return m.Stream.Size
	}
	if m.Text != nil {
		return int64(len(*m.Text))
	}
	return int64(len(m.Base64))
}

func (r *Report) topic(s subject) *topic {
	if t := r.topics[s]; t != nil {
		return t
	}
	if len(r.order) >= maxTopics || len(s.topic) > maxTopic {
		return nil
	}
	s.kind = textegress.Kind(strings.Clone(string(s.kind)))
	s.topic = strings.Clone(s.topic)
	t := &topic{subject: s}
	r.topics[s] = t
	r.order = append(r.order, t)
	return t
}

// busiest returns the topics with the most messages first.
func (r *Report) busiest() []*topic {
	list := slices.Clone(r.order)
	slices.SortStableFunc(list, func(a, b *topic) int {
		return cmp.Compare(b.messages, a.messages)
	})
	return list
}
