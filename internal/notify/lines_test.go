package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/syncflow/textegress"
)

// fakeLines stands for package follow. What it holds survives crashes.
type fakeLines struct {
	mu      sync.Mutex
	version string
	of      map[string]*fakeRecording
	err     error // of Follow
	open    int   // readers
	most    int
}

type fakeRecording struct {
	lines   []Line
	ended   bool
	changed chan struct{}
}

func newFakeLines() *fakeLines {
	return &fakeLines{version: "1", of: map[string]*fakeRecording{}}
}

func (w *world) source() Lines {
	if w.lines == nil {
		return nil
	}
	return w.lines
}

// get returns a recording. mu is held.
func (f *fakeLines) get(id string) *fakeRecording {
	if f.of[id] == nil {
		f.of[id] = &fakeRecording{changed: make(chan struct{})}
	}
	return f.of[id]
}

func (f *fakeLines) change(id string, change func(r *fakeRecording)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.get(id)
	change(r)
	close(r.changed)
	r.changed = make(chan struct{})
}

// say adds messages on a topic.
func (f *fakeLines) say(id, topic string, texts ...string) {
	f.change(id, func(r *fakeRecording) {
		for _, text := range texts {
			r.add(Line{Kind: textegress.KindData, Topic: topic}, text)
		}
	})
}

func (r *fakeRecording) add(l Line, text string) {
	l.N = int64(len(r.lines)) + 1
	b, err := json.Marshal(map[string]any{"n": l.N, "topic": l.Topic, "text": text})
	if err != nil {
		panic(err)
	}
	l.JSON = b
	r.lines = append(r.lines, l)
}

func (f *fakeLines) end(id string) {
	f.change(id, func(r *fakeRecording) { r.ended = true })
}

func (f *fakeLines) count(id string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.get(id).lines))
}

// Follow implements [Lines].
func (f *fakeLines) Follow(id string, from int64) (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.open++
	f.most = max(f.most, f.open)
	return &fakeReader{f: f, id: id, next: from, version: f.version}, nil
}

type fakeReader struct {
	f       *fakeLines
	id      string
	next    int64
	version string
	closed  bool
}

func (r *fakeReader) Next(ctx context.Context) (Line, error) {
	for {
		r.f.mu.Lock()
		rec := r.f.get(r.id)
		if r.next <= int64(len(rec.lines)) {
			l := rec.lines[r.next-1]
			r.next++
			r.f.mu.Unlock()
			return l, nil
		}
		ended, changed := rec.ended, rec.changed
		r.f.mu.Unlock()
		if ended {
			return Line{}, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Line{}, context.Cause(ctx)
		}
	}
}

func (r *fakeReader) Ready() int64    { return r.f.count(r.id) }
func (r *fakeReader) Version() string { return r.version }

func (r *fakeReader) Close() error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.closed {
		return errors.New("closed twice")
	}
	r.closed = true
	r.f.open--
	return nil
}

// batchRequest is a request with messages.
type batchRequest struct {
	url, body string
	ended     []string // the recordings whose ends it had accepted
	accepted  bool
	got       messagesBody
}

type messagesBody struct {
	messagesEvent

	Lines []json.RawMessage `json:"lines"`
}

// addBatch notes a request. mu is held.
func (w *web) addBatch(r request) {
	b := batchRequest{url: r.url, body: r.body, accepted: r.accepted}
	if err := json.Unmarshal([]byte(r.body), &b.got); err != nil {
		w.t.Errorf("%s: %v", r.body, err)
	}
	if r.event.GetId() != b.got.ID || r.event.GetEvent() != eventMessages {
		w.t.Errorf("LiveKit's receivers get %v", r.event)
	}
	for _, e := range w.requests {
		if e.accepted && e.url == r.url && stepOf(e.event) == stepEnded {
			b.ended = append(b.ended, e.event.EgressInfo.EgressId)
		}
	}
	w.batches = append(w.batches, b)
}

// messages returns the texts of one recording that a receiver has accepted, each once, and checks
// that they came in order, without gaps, and are those of the source.
func (w *world) messages(url, id string) []string {
	w.t.Helper()
	w.web.mu.Lock()
	defer w.web.mu.Unlock()
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	var texts []string
	last := int64(0)
	for _, b := range w.web.batches {
		if b.url != url || b.got.EgressID != id || !b.accepted {
			continue
		}
		if b.got.FirstN > last+1 || b.got.LastN < b.got.FirstN {
			w.t.Errorf("%d to %d after %d", b.got.FirstN, b.got.LastN, last)
		}
		before := b.got.FirstN - 1
		for _, raw := range b.got.Lines {
			var l struct {
				N    int64  `json:"n"`
				Text string `json:"text"`
			}
			if err := json.Unmarshal(raw, &l); err != nil {
				w.t.Fatal(err)
			}
			if l.N <= before || l.N > b.got.LastN {
				w.t.Errorf("line %d after %d in %d to %d", l.N, before, b.got.FirstN, b.got.LastN)
			}
			before = l.N
			if want := string(w.lines.of[id].lines[l.N-1].JSON); string(raw) != want {
				w.t.Errorf("line %s, want %s", raw, want)
			}
			if l.N > last {
				texts = append(texts, l.Text)
			}
		}
		last = max(last, b.got.LastN)
	}
	return texts
}

func (w *world) wantMessages(url, id string, want ...string) {
	w.t.Helper()
	if got := w.messages(url, id); !slices.Equal(got, want) {
		w.t.Errorf("%s got %q of %s, want %q\n%s", url, got, id, want, w.log())
	}
}

// numbered returns texts.
func numbered(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprintf("said %d", i))
	}
	return list
}
