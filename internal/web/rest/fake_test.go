package rest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/timeline"
)

// fake is a service with one recording, EG_1. Everything else fails with errs[id].
type fake struct {
	overview.Service // panics: what the API does not use

	mu    sync.Mutex
	lines []overview.Event
	done  bool          // no line follows
	more  chan struct{} // closed and replaced when lines or done change
	text  bool
	query overview.Query
	errs  map[string]error
}

func newFake(n int) *fake {
	f := &fake{more: make(chan struct{}), text: true, errs: map[string]error{
		"EG_gone":  fmt.Errorf("%w: removed after its delivery", overview.ErrGone),
		"EG_later": fmt.Errorf("%w: the store does not answer", overview.ErrNotNow),
		"EG_error": errors.New("SECRET"),
	}}
	for range n {
		f.add()
	}
	return f
}

// add adds a line. Topics and senders alternate.
func (f *fake) add() {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(len(f.lines) + 1)
	ev := overview.Event{
		N: n, Kind: "data", Topic: []string{"chat", "log"}[n%2],
		Identity: []string{"alice", "bob", "bert"}[n%3], UnixNS: n * int64(time.Second),
	}
	if n == 1 {
		ev.Kind = "joined"
	}
	ev.JSON = fmt.Appendf(nil, `{"n":%d,"kind":%q,"topic":%q,"identity":%q,"unix_ns":%d}`,
		n, ev.Kind, ev.Topic, ev.Identity, ev.UnixNS)
	f.lines = append(f.lines, ev)
	close(f.more)
	f.more = make(chan struct{})
}

func (f *fake) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = true
	close(f.more)
	f.more = make(chan struct{})
}

func (f *fake) find(id string) error {
	if id == "EG_1" {
		return nil
	}
	if err := f.errs[id]; err != nil {
		return err
	}
	return fmt.Errorf("recording: %w", overview.ErrNotFound)
}

func (f *fake) Overview() overview.Overview {
	var o overview.Overview
	fill(reflect.ValueOf(&o).Elem())
	return o
}

func (f *fake) Recordings(_ context.Context, q overview.Query) (overview.RecordingPage, error) {
	f.mu.Lock()
	f.query = q
	f.mu.Unlock()
	if q.Cursor == "bad" {
		return overview.RecordingPage{}, fmt.Errorf("%w: the cursor is not one of this service",
			overview.ErrInvalid)
	}
	var p overview.RecordingPage
	fill(reflect.ValueOf(&p).Elem())
	return p, nil
}

func (f *fake) Recording(_ context.Context, id string) (overview.Recording, error) {
	var rec overview.Recording
	fill(reflect.ValueOf(&rec).Elem())
	return rec, f.find(id)
}

func (f *fake) Timeline(_ context.Context, id string) (timeline.Data, error) {
	var d timeline.Data
	fill(reflect.ValueOf(&d).Elem())
	return d, f.find(id)
}

func (f *fake) Events(_ context.Context, id string, from int64) (overview.Events, error) {
	if err := f.find(id); err != nil {
		return nil, err
	}
	return &reader{f: f, n: from}, nil
}

type reader struct {
	f *fake
	n int64 // of the next line
}

func (r *reader) Next(ctx context.Context) (overview.Event, error) {
	for {
		r.f.mu.Lock()
		lines, done, more := r.f.lines, r.f.done, r.f.more
		r.f.mu.Unlock()
		if r.n <= int64(len(lines)) {
			r.n++
			return lines[r.n-2], nil
		}
		if done {
			return overview.Event{}, io.EOF
		}
		select {
		case <-more:
		case <-ctx.Done():
			return overview.Event{}, context.Cause(ctx)
		}
	}
}

func (r *reader) Ready() int64 {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return int64(len(r.f.lines))
}

func (r *reader) Text() bool      { return r.f.text }
func (r *reader) Version() string { return "v1" }
func (r *reader) Close() error    { return nil }

// named are the values of strings whose JSON schema lists them.
var named = map[string]string{
	"level": "warn", "what": "disk", "status": "ACTIVE", "state": "",
}

// fill sets every field that v can hold, so that an answer has all of its keys. Strings that a
// schema does not limit become the secret.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("SECRET")
		if v.Type() == reflect.TypeFor[overview.Level]() {
			v.SetString("warn")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if s, ok := named[name]; ok && v.Field(i).Kind() == reflect.String {
				v.Field(i).SetString(s)
				if name == "state" {
					v.Field(i).SetString(map[string]string{
						"Person": "silent", "Disk": "low", "Session": "recording",
					}[v.Type().Name()])
				}
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	default:
		if v.CanInt() {
			v.SetInt(1)
		} else if v.CanUint() {
			v.SetUint(1)
		} else if v.CanFloat() {
			v.SetFloat(1.5)
		}
	}
}

// missing fails the test if a text lacks one of the parts.
func missing(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in %s", p, text)
		}
	}
}
