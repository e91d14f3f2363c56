package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lk "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"

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

// request is one request that a receiver got.
type request struct {
	url, token string
	body       string
	event      *lk.WebhookEvent
	accepted   bool
}

// web is all receivers. It checks the signature of every request.
type web struct {
	t *testing.T

	mu       sync.Mutex
	requests []request
	running  map[string]int
	most     map[string]int
	// answer decides on a request; nil: 200. It may block on ctx.
	answer func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error)
	header http.Header
}

// RoundTrip implements [http.RoundTripper].
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	url := r.URL.String()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/webhook+json" {
		w.t.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
	}
	got := request{url: url, token: r.Header.Get("Authorization"), body: string(body)}
	w.verify(got)
	got.event = &lk.WebhookEvent{}
	if err := protojson.Unmarshal(body, got.event); err != nil {
		w.t.Errorf("%s: %v", body, err)
	}
	w.mu.Lock()
	answer, header := w.answer, w.header
	w.running[url]++
	w.most[url] = max(w.most[url], w.running[url])
	w.mu.Unlock()
	code := http.StatusOK
	if answer != nil {
		code, err = answer(r.Context(), url, got.event)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[url]--
	got.accepted = err == nil && code == http.StatusOK
	w.requests = append(w.requests, got)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: code, Header: header.Clone(), Body: io.NopCloser(strings.NewReader("secret answer")),
	}, nil
}

// verify checks the token as LiveKit's receivers do.
func (w *web) verify(r request) {
	var c struct {
		jwt.RegisteredClaims

		SHA256 string `json:"sha256"`
	}
	_, err := jwt.ParseWithClaims(r.token, &c,
		func(*jwt.Token) (any, error) { return []byte(key.Secret), nil },
		jwt.WithIssuer(key.ID), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		w.t.Errorf("token: %v", err)
		return
	}
	if left := time.Until(c.ExpiresAt.Time); left <= 4*time.Minute || left > 5*time.Minute {
		w.t.Errorf("the token is valid for %v", left)
	}
	if c.SHA256 != digest(r.body) {
		w.t.Error("the token signs another body")
	}
}

func (w *web) set(f func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// got returns what one receiver accepted, or was asked to, as "<egress id> <status>".
func (w *web) got(url string, all bool) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, r := range w.requests {
		if r.url == url && (all || r.accepted) {
			list = append(list, label(r.event))
		}
	}
	return list
}

func label(e *lk.WebhookEvent) string {
	status := strings.TrimPrefix(e.EgressInfo.Status.String(), "EGRESS_")
	return e.EgressInfo.EgressId + " " + status
}

// check is the invariant over all requests so far: one id, name and body for each event, and the
// order of the events of a recording.
func (w *web) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	bodies, ids := map[string]string{}, map[string]string{}
	accepted := map[string]step{}
	for _, r := range w.requests {
		of := r.url + " " + label(r.event)
		if before, ok := bodies[of]; ok && before != r.body {
			w.t.Errorf("%s: sent\n%s\nand\n%s", of, before, r.body)
		}
		if before, ok := ids[r.event.Id]; ok && before != label(r.event) {
			w.t.Errorf("%s and %s have the same id", before, label(r.event))
		}
		bodies[of], ids[r.event.Id] = r.body, label(r.event)
		s := stepOf(r.event)
		recording := r.url + " " + r.event.EgressInfo.EgressId
		if s > accepted[recording]+1 && w.answer == nil {
			w.t.Errorf("%s was sent before the event before it was accepted", of)
		}
		if s < accepted[recording] {
			w.t.Errorf("%s was sent after the event after it", of)
		}
		if r.accepted {
			accepted[recording] = max(accepted[recording], s)
		}
	}
}

func stepOf(e *lk.WebhookEvent) step {
	s := stepEnded
	switch e.EgressInfo.Status {
	case lk.EgressStatus_EGRESS_STARTING:
		s = stepStarting
	case lk.EgressStatus_EGRESS_ACTIVE:
		s = stepActive
	case lk.EgressStatus_EGRESS_ENDING:
		s = stepEnding
	}
	return s
}

// world is a data directory with the processes that work on it.
type world struct {
	t    *testing.T
	disk durable.FS
	web  *web
	// settings of project p; nil: it is not configured
	project *Project
	hosts   []string

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
		Spool: s, FS: w.disk, Hosts: w.hosts,
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Project: func(id string) (Project, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if id != "p" || w.project == nil {
				return Project{}, false
			}
			return *w.project, true
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

// shutDown ends the process. What it knew is lost.
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

// next takes a recording to its next state, whatever a crash has left of it. It reports whether it
// had one.
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
			return true, w.Seal(spool.Sealed{Status: textegress.StatusComplete, Reason: "room_closed"})
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
			Prefix: delivery.Prefix(rec.Info(), 1), Objects: 1, UploadedUnixNS: time.Now().UnixNano(),
		})
		if err != nil {
			return true, err
		}
		return true, rec.WriteUploaded(b)
	}
	return false, nil
}

// live takes a recording through all its states, with some time in each.
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

func status(code int) func(context.Context, string, *lk.WebhookEvent) (int, error) {
	return func(context.Context, string, *lk.WebhookEvent) (int, error) { return code, nil }
}

func hang(ctx context.Context, _ string, _ *lk.WebhookEvent) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// path returns the path of an event for receiver A.
func (w *world) path(id string, s step, suffix string) string {
	return filepath.Join("/data/webhooks", fmt.Sprintf("%s.%s.%d%s", id, receiverID("p", urlA), s,
		suffix))
}
