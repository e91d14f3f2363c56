package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/guid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// WebhookPath is the path at which textegress receives LiveKit's webhooks.
const WebhookPath = "/livekit/webhook"

// Hook is one request of a webhook.
type Hook struct {
	ContentType   string
	Authorization string
	Body          []byte
	Event         *livekit.WebhookEvent // the body, decoded
}

// Webhooks is an HTTP proxy between LiveKit and a recorder. LiveKit must know the address of its
// receiver before it starts, and the recorder is started later; until To is called, every hook is
// lost. The proxy can also lose, repeat, delay, reorder and forge hooks. It runs in this process.
type Webhooks struct {
	URL string // for LiveKit's configuration

	server *http.Server

	mu      sync.Mutex
	target  string // base URL of the recorder; empty: hooks are lost
	through Interception
	seen    []Hook
}

// Interception decides on one hook and returns the status that LiveKit gets. forward sends a hook
// to the recorder and returns the recorder's status. LiveKit tries a hook again after a status of
// 500 and above. Interceptions are called concurrently, for one room in the order of its events.
type Interception func(h Hook, forward func(Hook) int) int

// LoseHooks loses every hook, as a receiver that is down does.
func LoseHooks(Hook, func(Hook) int) int { return http.StatusServiceUnavailable }

// SwallowHooks loses every hook for good: LiveKit sees them as received and does not try again.
func SwallowHooks(Hook, func(Hook) int) int { return http.StatusOK }

// RepeatHooks sends every hook n times.
func RepeatHooks(n int) Interception {
	return func(h Hook, forward func(Hook) int) int {
		status := forward(h)
		for range n - 1 {
			forward(h)
		}
		return status
	}
}

// ReverseHooks keeps hooks back, as seen by the recorder, until release is called, which sends them
// in the reverse order.
func ReverseHooks() (through Interception, release func()) {
	var mu sync.Mutex
	var held []func()
	through = func(h Hook, forward func(Hook) int) int {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, func() { forward(h) })
		return http.StatusOK
	}
	return through, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, send := range slices.Backward(held) {
			send()
		}
		held = nil
	}
}

// DelayHooks sends every hook after the given time. LiveKit waits for it.
func DelayHooks(d time.Duration) Interception {
	return func(h Hook, forward func(Hook) int) int {
		time.Sleep(d)
		return forward(h)
	}
}

func startWebhooks(ports *portBlock) (*Webhooks, error) {
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("stack: a proxy for webhooks: %w", err)
	}
	w := &Webhooks{URL: "http://" + addr + WebhookPath}
	w.server = &http.Server{Handler: http.HandlerFunc(w.receive), ReadTimeout: 10 * time.Second}
	go w.server.Serve(l) //nolint:errcheck // it ends with Close
	return w, nil
}

// To sends the following hooks to a recorder.
func (w *Webhooks) To(r *Recorder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = r.URL
}

// Through puts an interception between LiveKit and the recorder; nil removes it.
func (w *Webhooks) Through(f Interception) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.through = f
}

// Reset loses every hook until To is called, and forgets the interception and the hooks seen.
func (w *Webhooks) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target, w.through, w.seen = "", nil, nil
}

// Seen returns the hooks that LiveKit has sent, in the order of their arrival, with those that were
// tried again.
func (w *Webhooks) Seen() []Hook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// Close ends the proxy.
func (w *Webhooks) Close() error { return w.server.Close() }

func (w *Webhooks) receive(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	h := Hook{
		ContentType: r.Header.Get("Content-Type"), Authorization: r.Header.Get("Authorization"),
		Body: body, Event: &livekit.WebhookEvent{},
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body,
		h.Event); err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.seen = append(w.seen, h)
	target, through := w.target, w.through
	w.mu.Unlock()
	ctx := context.WithoutCancel(r.Context())
	forward := func(h Hook) int { return post(ctx, target, h) }
	switch {
	case target == "":
		rw.WriteHeader(http.StatusServiceUnavailable)
	case through != nil:
		rw.WriteHeader(through(h, forward))
	default:
		rw.WriteHeader(forward(h))
	}
}

// Send sends a hook to the recorder, past the interception, and returns the recorder's status.
func (w *Webhooks) Send(ctx context.Context, h Hook) int {
	w.mu.Lock()
	target := w.target
	w.mu.Unlock()
	return post(ctx, target, h)
}

// post sends a hook; a recorder that does not answer is a gateway that does not.
func post(ctx context.Context, target string, h Hook) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+WebhookPath,
		bytes.NewReader(h.Body))
	if err != nil {
		return http.StatusBadGateway
	}
	req.Header.Set("Content-Type", h.ContentType)
	if h.Authorization != "" {
		req.Header.Set("Authorization", h.Authorization)
	}
	resp, err := probe.Do(req)
	if err != nil {
		return http.StatusBadGateway
	}
	resp.Body.Close()
	return resp.StatusCode
}

// NewHook makes a hook as LiveKit does, signed with the given key and secret.
func NewHook(key, secret, event string, room *livekit.Room) (Hook, error) {
	e := &livekit.WebhookEvent{
		Event: event, Room: room, Id: guid.New("EV_"), CreatedAt: timestamppb.Now().Seconds,
	}
	body, err := protojson.Marshal(e)
	if err != nil {
		return Hook{}, err
	}
	sum := sha256.Sum256(body)
	token, err := auth.NewAccessToken(key, secret).SetValidFor(5 * time.Minute).SetSha256(
		base64.StdEncoding.EncodeToString(sum[:])).ToJWT()
	if err != nil {
		return Hook{}, fmt.Errorf("stack: signing a webhook: %w", err)
	}
	return Hook{
		ContentType: "application/webhook+json", Authorization: token, Body: body, Event: e,
	}, nil
}
