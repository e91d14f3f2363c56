package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/egressinfo"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

const (
	urlA = "https://a.example.org/hook?token=sesame"
	urlB = "https://b.example.org/hook"
)

var key = livekit.Key{ID: "key", Secret: "a secret of at least thirty-two bytes"}

// world is a data directory with the processes that work on it.
type world struct {
	t    *testing.T
	disk durable.FS
	web  *web
	// settings of project p; nil: it is not configured
	project *Project
	hosts   []string
	lines   *fakeLines // nil: no messages are sent

	spool *spool.Spool
	n     *Notifier
	stop  func()
	mu    sync.Mutex
	logs  bytes.Buffer
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, disk: durabletest.NewCrashFS(0, 0),
		web: &web{t: t, running: map[string]int{}, most: map[string]int{}},
		project: &Project{Name: "project 0", Key: key, Subscriptions: []Subscription{
			{URL: urlA, Key: key},
		}},
	}
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(b)
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.String()
}

// boot begins a process.
func (w *world) boot() error {
	s, err := spool.Open("/data", spool.Options{FS: w.disk, SyncInterval: time.Hour})
	if err != nil {
		return err
	}
	w.spool = s
	w.n = New(Options{
		Spool: s, FS: w.disk, Hosts: w.hosts, Lines: w.source(),
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Projects: func() map[string]Project {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.project == nil {
				return nil
			}
			return map[string]Project{"p": *w.project}
		},
	})
	w.n.client.Transport = w.web
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.n.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run: %v", err)
		}
	}()
	w.stop = func() { cancel(); <-done }
	return nil
}

// shutDown ends the process. Its memory is lost.
func (w *world) shutDown() {
	if w.stop != nil {
		w.stop()
		w.spool.Close() // which a crash makes fail
		w.stop = nil
	}
}

func (w *world) start() {
	w.t.Helper()
	if err := w.boot(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.shutDown)
}

func (w *world) restart() {
	w.t.Helper()
	w.shutDown()
	w.start()
}

func (w *world) configure(f func(p *Project)) {
	w.mu.Lock()
	if w.project == nil {
		w.project = &Project{Name: "project 0", Key: key}
	}
	f(w.project)
	w.mu.Unlock()
	w.n.Wake()
}

// settle lets time pass, inside a bubble.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// next advances a recording to its next state, also after a crash. It reports whether there was
// one.
func next(s *spool.Spool, id string, webhooks ...string) (bool, error) {
	rec, ok := s.Recording(id)
	if !ok {
		_, err := s.Create(spool.Info{
			EgressID: id, SessionID: "s-" + id, RoomName: "class 1", ProjectID: "p",
			KeyPrefix: textegress.Prefix("P", "p", "class 1", "", id), Webhooks: webhooks,
		})
		return true, err
	}
	switch rec.State() {
	case spool.StateOpen:
		_, joined, err := egressinfo.Joined(rec)
		if err != nil {
			return true, err
		}
		w, err := rec.Writer()
		if err != nil {
			return true, err
		}
		if joined {
			return true, w.Seal(spool.Sealed{
				Status: textegress.StatusComplete, Reason: "room_closed",
			})
		}
		b, err := segment.EncodeEvent(segment.Event{Kind: segment.KindJoined, RoomSID: "RM_x"})
		if err == nil {
			err = w.Append(segment.Frame{Type: segment.FrameEvent, UnixNS: 1, Payload: b})
		}
		return true, errors.Join(err, w.Close())
	case spool.StateSealed:
		p := delivery.Plan{
			FormatVersion: 1, Revision: 1, Prefix: delivery.Prefix(rec.Info(), 1), Details: "All.",
			Objects: []textegress.Object{
				{Key: "files/secret-alice/st-x.txt", Size: 1, SHA256: strings.Repeat("0", 64)},
				{Key: "manifest.json", Size: 2, SHA256: strings.Repeat("0", 64)},
			},
		}
		return true, p.Save(rec)
	case spool.StateExported:
		b, err := json.Marshal(delivery.Uploaded{
			FormatVersion: 1, Revision: 1, Bucket: "s3://b at https://s3.example.org",
			Prefix: delivery.Prefix(rec.Info(), 1), Objects: 1,
			UploadedUnixNS: time.Now().UnixNano(),
		})
		if err != nil {
			return true, err
		}
		return true, rec.WriteUploaded(b)
	}
	return false, nil
}

// live advances a recording through all its states, with some time in each.
func (w *world) live(id string, webhooks ...string) {
	w.t.Helper()
	for {
		more, err := next(w.spool, id, webhooks...)
		if err != nil {
			w.t.Fatal(err)
		}
		if !more {
			return
		}
		w.n.Wake()
		settle(3 * time.Second)
	}
}

// files returns the names in the directory of events.
func (w *world) files() []string {
	entries, err := w.disk.ReadDir("test", "/data/webhooks")
	if err != nil {
		w.t.Error(err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func (w *world) wantFiles(want ...string) {
	w.t.Helper()
	for i, name := range want {
		id, rest, _ := strings.Cut(name, " ")
		want[i] = id + "." + receiverID("p", urlA) + "." + rest
	}
	if got := w.files(); !slices.Equal(got, want) {
		w.t.Errorf("files %q, want %q", got, want)
	}
}

func (w *world) wantGot(url string, all bool, want ...string) {
	w.t.Helper()
	w.web.check()
	if got := w.web.got(url, all); !slices.Equal(got, want) {
		w.t.Errorf("%s got %q, want %q\n%s", url, got, want, w.log())
	}
}

// whole is what a receiver gets of recordings that begin and end one after the other.
func whole(ids ...string) []string {
	var list []string
	for _, id := range ids {
		for _, status := range []string{"STARTING", "ACTIVE", "ENDING", "COMPLETE"} {
			list = append(list, id+" "+status)
		}
	}
	return list
}

// path returns the path of an event for receiver A.
func (w *world) path(id string, s step, suffix string) string {
	return filepath.Join("/data/webhooks", fmt.Sprintf("%s.%s.%d%s", id, receiverID("p", urlA), s,
		suffix))
}
