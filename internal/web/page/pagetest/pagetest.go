// Package pagetest has a service for tests of the page: made-up classes in every state that the
// page must show.
package pagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/timeline"
)

// Service is an [overview.Service] whose answers a test sets.
type Service struct {
	mu       sync.Mutex // guards the rest
	overview overview.Overview
	moving   bool
	past     []overview.Recording
	lines    []overview.Event
	changed  chan struct{}
	done     []string
	refusal  error
	lastAsk  overview.Query
}

// New returns a service in a state.
func New(o overview.Overview, past ...overview.Recording) *Service {
	return &Service{overview: o, past: past, changed: make(chan struct{})}
}

// Set changes the state.
func (s *Service) Set(o overview.Overview) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overview = o
}

// Move lets the clock of the service run; otherwise it stands still.
func (s *Service) Move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving = true
}

// Refuse makes all actions fail.
func (s *Service) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = err
}

// Done returns the actions so far, such as "stop EG_1".
func (s *Service) Done() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.done...)
}

// LastQuery is that of the last list of recordings.
func (s *Service) LastQuery() overview.Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastAsk
}

// Say adds a line to every recording.
func (s *Service) Say(identity, topic, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.overview.At.Add(time.Duration(len(s.lines)) * 700 * time.Millisecond)
	m := textegress.Message{
		N: int64(len(s.lines) + 1), Kind: textegress.KindData, Time: at, UnixNS: at.UnixNano(),
		Identity: identity, Topic: topic, Text: &text,
	}
	s.lines = append(s.lines, overview.Event{
		N: m.N, JSON: m.AppendJSON(nil), Kind: string(m.Kind), Topic: topic, Identity: identity,
		UnixNS: m.UnixNS,
	})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Overview implements [overview.Service].
func (s *Service) Overview() overview.Overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.overview
	if s.moving {
		o.At = time.Now()
	}
	o.Verdict = overview.Judge(o)
	return o
}

// Recordings implements [overview.Service].
func (s *Service) Recordings(_ context.Context, q overview.Query) (overview.RecordingPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastAsk = q
	var p overview.RecordingPage
	for _, r := range s.past {
		if strings.Contains(strings.ToLower(r.Room), strings.ToLower(q.Text)) {
			p.Recordings = append(p.Recordings, r)
		}
	}
	if len(p.Recordings) > overview.DefaultLimit {
		p.Recordings, p.Next = p.Recordings[:overview.DefaultLimit], "further"
	}
	return p, nil
}

// Recording implements [overview.Service].
func (s *Service) Recording(_ context.Context, id string) (overview.Recording, error) {
	for _, live := range s.Overview().Sessions {
		if live.EgressID == id {
			return overview.Recording{
				Session: live, Bucket: "s3://study", HasEvents: true,
				Prefix: "Study 1-ab12/" + live.Room + "/",
			}, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.past {
		if r.EgressID == id {
			return r, nil
		}
	}
	return overview.Recording{}, fmt.Errorf("recording %s: %w", id, overview.ErrNotFound)
}

// Timeline implements [overview.Service].
func (s *Service) Timeline(_ context.Context, id string) (timeline.Data, error) {
	if _, err := s.Recording(context.Background(), id); err != nil {
		return timeline.Data{}, err
	}
	return Timeline(s.Overview().At), nil
}

// Report implements [overview.Service].
func (s *Service) Report(ctx context.Context, id string) (io.ReadCloser, error) {
	if _, err := s.Recording(ctx, id); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader("<!doctype html><title>report</title>")), nil
}

// Zip implements [overview.Service].
func (s *Service) Zip(_ context.Context, _ string, w io.Writer) error {
	_, err := io.Copy(w, bytes.NewReader([]byte("PK\x05\x06"+strings.Repeat("\x00", 18))))
	return err
}

// Stop implements [overview.Service].
func (s *Service) Stop(_ context.Context, id string) error { return s.act("stop " + id) }

// Record implements [overview.Service].
func (s *Service) Record(_ context.Context, session, project string) (string, error) {
	return "EG_new", s.act("record " + session + " " + project)
}

// Exclude implements [overview.Service].
func (s *Service) Exclude(_ context.Context, identity, session, project string) error {
	return s.act("exclude " + identity + " " + session + " " + project)
}

// Rehearse implements [overview.Service].
func (s *Service) Rehearse(_ context.Context, project string) ([]overview.RehearsalStep, error) {
	steps := []overview.RehearsalStep{
		{
			Name: "room", Result: overview.StepOK, Took: 4 * time.Millisecond,
			Detail: "opened the room textegress-check-rehearsal-qqfyv57j4zmk",
		},
		{
			Name: "delivered", Result: overview.StepOK, Took: 212 * time.Millisecond,
			Detail: "8 objects, 49190 bytes, each verified in s3://study",
		},
	}
	if err := s.act("rehearse " + project); err != nil {
		steps[1].Result, steps[1].Detail = overview.StepFailed, err.Error()
		return steps, err
	}
	return steps, nil
}

func (s *Service) act(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return s.refusal
	}
	s.done = append(s.done, what)
	return nil
}

// Events implements [overview.Service].
func (s *Service) Events(ctx context.Context, id string, from int64) (overview.Events, error) {
	if _, err := s.Recording(ctx, id); err != nil {
		return nil, err
	}
	return &events{s: s, next: from}, nil
}

type events struct {
	s    *Service
	next int64
}

func (e *events) Next(ctx context.Context) (overview.Event, error) {
	for {
		e.s.mu.Lock()
		changed := e.s.changed
		if e.next <= int64(len(e.s.lines)) {
			line := e.s.lines[e.next-1]
			e.next++
			e.s.mu.Unlock()
			return line, nil
		}
		e.s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return overview.Event{}, ctx.Err()
		}
	}
}

func (e *events) Ready() int64 {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	return int64(len(e.s.lines))
}

// Text implements [overview.Events].
func (e *events) Text() bool { return true }

func (e *events) Version() string { return "test" }

func (e *events) Close() error { return nil }
