package rehearsal_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/rehearsal"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// world is a spool whose recordings are delivered to a bucket.
type world struct {
	t      *testing.T
	o      rehearsal.Options
	bucket objstore.Bucket
	steps  []string
	detail map[string]string
}

// newWorld starts the delivery to a bucket.
func newWorld(t *testing.T, bucket objstore.Bucket) *world {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d := delivery.New(delivery.Options{Spool: s, Projects: projects{bucket}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, bucket: bucket, detail: map[string]string{}}
	w.o = rehearsal.Options{
		Spool: s, NoRoom: "no tokens", Bucket: bucket, Sealed: d.Wake,
		Info: spool.Info{ProjectID: "p", ProjectName: "Study"},
		KeyPrefix: func(i spool.Info) string {
			return textegress.Prefix(i.ProjectName, i.ProjectID, i.RoomName, "", i.EgressID)
		},
		Hold:        func(*spool.Recording) bool { return false },
		UploadError: func(id string) string { return d.Snapshot().Errors[id] },
		Report: func(s rehearsal.Step) {
			w.steps = append(w.steps, s.Name+" "+string(s.Result))
			w.detail[s.Name] = s.Detail
		},
	}
	return w
}

type projects struct{ bucket objstore.Bucket }

func (p projects) Bucket(string) (objstore.Bucket, error)         { return p.bucket, nil }
func (projects) Keys(string) *render.Keys                         { return nil }
func (projects) Pseudonyms(spool.Info) (redact.Pseudonyms, error) { return nil, nil }

// keys lists the objects in the bucket.
func (w *world) keys() []string {
	w.t.Helper()
	var keys []string
	for attrs, err := range w.bucket.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		keys = append(keys, attrs.Key)
	}
	return keys
}

// Without a room, the messages go from the disk to the bucket and back, the result says what was
// not tried, and nothing is left.
func TestRunWithoutRoom(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("memory", true))
	if err := rehearsal.Run(t.Context(), w.o); err != nil {
		t.Fatal(err)
	}
	want := []string{"room not_tried", "written ok", "delivered ok", "read back ok", "removed ok"}
	if !slices.Equal(w.steps, want) {
		t.Errorf("steps %q, want %q", w.steps, want)
	}
	if w.detail["room"] != "no tokens" || !strings.Contains(w.detail["read back"], "all 6") {
		t.Errorf("details %q", w.detail)
	}
	if keys, recs := w.keys(), w.o.Spool.Recordings(); len(keys)+len(recs) != 0 {
		t.Errorf("left: %q, %d recordings", keys, len(recs))
	}
}

// swapped returns another file of the same size instead of each file that was delivered.
type swapped struct{ objstore.Bucket }

func (s swapped) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := s.Bucket.Open(ctx, key)
	if err != nil || !strings.Contains(key, "/files/") {
		return r, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(bytes.ToUpper(b))), err
}

// A recording that differs in the bucket fails the rehearsal.
func TestRunReadsBack(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("memory", true))
	w.o.Bucket = swapped{w.bucket}
	err := rehearsal.Run(t.Context(), w.o)
	if !errors.Is(err, rehearsal.ErrFailed) || !slices.Contains(w.steps, "read back failed") {
		t.Errorf("steps %q, error %v", w.steps, err)
	}
	if keys := w.keys(); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// Messages that the lists of the project exclude are not expected.
func TestRunWithLists(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("memory", true))
	var err error
	w.o.Filter, err = filter.New(textegress.SelectionRules{TopicsAllow: []string{"lk.chat"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := rehearsal.Run(t.Context(), w.o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.detail["read back"], "all 2 messages") {
		t.Errorf("read back: %s", w.detail["read back"])
	}
}

// closedRoom cannot be joined by the recorder.
type closedRoom struct{ deleted []string }

func (c *closedRoom) Create(context.Context, string) error { return nil }

func (c *closedRoom) Delete(_ context.Context, name string) error {
	c.deleted = append(c.deleted, name)
	return nil
}

func (c *closedRoom) Record(context.Context, string) (string, error) {
	return "", errors.New("LiveKit refuses the key")
}

func (c *closedRoom) Connected(string) (ok bool, reason string) { return false, "" }

func (c *closedRoom) Join(context.Context, string) (rehearsal.Sender, error) {
	return nil, errors.New("nobody can join")
}

// A room that was opened is deleted, whatever fails later.
func TestRunDeletesItsRoom(t *testing.T) {
	w := newWorld(t, objtest.NewMemory("memory", true))
	c := &closedRoom{}
	w.o.Room = c
	err := rehearsal.Run(t.Context(), w.o)
	if err == nil || !strings.Contains(err.Error(), "LiveKit refuses the key") {
		t.Errorf("error %v", err)
	}
	if want := []string{"room ok", "joined failed"}; !slices.Equal(w.steps, want) {
		t.Errorf("steps %q, want %q", w.steps, want)
	}
	if len(c.deleted) != 1 || !strings.HasPrefix(c.deleted[0], "textegress-check-") {
		t.Errorf("deleted %q", c.deleted)
	}
}
