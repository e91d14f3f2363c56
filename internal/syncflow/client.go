package syncflow

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/clock"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/session"
)

// Options of New. All but the last four are required.
type Options struct {
	BaseURL   string // of the API; trailing slashes are ignored
	Key       string // API key of the project
	Secret    string
	ProjectID string // lower case with hyphens

	// Gate is shared by all clients of a server; nil if this is the only one.
	Gate       *Gate
	HTTPClient *http.Client // nil = a client tuned to the server
	Logger     *slog.Logger
	Metrics    *Metrics // nil = private to this client and not exported
}

// Client calls the API for one project. It is safe for concurrent use; [Gate] limits concurrent
// requests.
//
// Methods retry temporary failures (network errors, 5xx, 429) with growing pauses, at most five
// attempts in all, and stop when ctx ends.
type Client struct {
	base, projectID string
	http            *http.Client
	log             *slog.Logger
	metrics         *Metrics
	signer          *signer
	gate            *Gate
	clock           clock.Offset
	pauses          backoff.Policy // between two attempts; tests replace its jitter
}

// New returns a Client. It does not call the API.
func New(o Options) (*Client, error) {
	switch {
	case o.BaseURL == "" || o.Key == "" || o.Secret == "":
		return nil, errors.New("syncflow: server URL, key and secret are required")
	case o.ProjectID == "" || session.CanonicalUUID(o.ProjectID) != o.ProjectID:
		return nil, errors.New("syncflow: the project id must be a UUID in lower case with hyphens")
	}
	h := newHTTPClient()
	if o.HTTPClient != nil {
		copied := *o.HTTPClient
		h = &copied
	}
	// Following a redirect would turn POST into GET, and could send the token to another server.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	gate := o.Gate
	if gate == nil {
		gate = new(Gate)
	}
	return &Client{
		base: strings.TrimRight(o.BaseURL, "/"), projectID: o.ProjectID, http: h, log: log,
		metrics: cmp.Or(o.Metrics, NewMetrics(nil)),
		signer:  &signer{key: o.Key, projectID: o.ProjectID, secret: []byte(o.Secret)},
		gate:    gate,
		pauses:  backoff.Policy{First: firstPause, Max: maxPause, Jitter: backoff.Full},
	}, nil
}

// SetKey replaces the API key and its secret, from the next request on.
func (c *Client) SetKey(key, secret string) error {
	if key == "" || secret == "" {
		return errors.New("syncflow: key and secret are required")
	}
	c.signer.replace(key, secret)
	return nil
}

// Project returns the client's project.
func (c *Client) Project(ctx context.Context) (Project, error) {
	var p Project
	err := c.do(ctx, call{endpoint: "project", method: http.MethodGet}, &p)
	if err == nil && p.ID == "" {
		err = errors.New("SyncFlow API, project: the answer has no id")
	}
	return p, err
}

// Sessions lists all sessions of the project, past ones included, in no particular order. The API
// answers 500 when LiveKit fails for any running session.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	var raw []json.RawMessage
	if err := c.do(ctx, call{
		endpoint: "sessions", method: http.MethodGet, path: "/sessions", limit: listBodyLimit,
	}, &raw); err != nil {
		return nil, err
	}
	return elements(ctx, c, "sessions", raw, func(s Session) bool { return s.ID != "" }), nil
}

// elements decodes the elements of a list one by one, so that a malformed one does not hide the
// others.
func elements[T any](ctx context.Context, c *Client, what string, raw []json.RawMessage,
	good func(T) bool,
) []T {
	out := make([]T, 0, len(raw))
	skipped := 0
	for _, r := range raw {
		var v T
		if bytes.Equal(bytes.TrimSpace(r), []byte("null")) || json.Unmarshal(r, &v) != nil ||
			!good(v) {
			skipped++
			continue
		}
		out = append(out, v)
	}
	if skipped > 0 {
		c.log.WarnContext(ctx, "SyncFlow API: skipping malformed elements of a list", "list", what,
			"skipped", skipped, "kept", len(out))
	}
	return out
}

// Session returns one session. For a running session the API queries LiveKit; if LiveKit has no
// such room, the error is session.ErrRoomMissing. An unknown session is ErrNotFound. The API needs
// two database connections at once for this, and LiveKit needs its Redis. To find out only whether
// a session runs, use [Client.Participants].
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	if err := checkID(id); err != nil {
		return Session{}, err
	}
	var s Session
	err := c.do(ctx, call{
		endpoint: "session", method: http.MethodGet, path: "/sessions/" + id,
		urgency: asking,
	}, &s)
	if err == nil && s.ID == "" {
		err = errors.New("SyncFlow API, session: the answer has no id")
	}
	return s, err
}

// Participants returns the number of participants in the room of a running session, hidden ones
// such as a recorder included. 0: the room is empty, or LiveKit has no such room. session.ErrEnded:
// the session is over; ErrNotFound: it never existed. The request is not retried, because callers
// have a better alternative after an error.
//
// The API needs one database connection for this, which it holds while it queries LiveKit; it does
// not need Redis.
func (c *Client) Participants(ctx context.Context, id string) (int, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	var n elementCount
	err := c.do(ctx, call{
		endpoint: "participants", method: http.MethodGet, path: "/sessions/" + id + "/participants",
		limit: participantsLimit, once: true, urgency: asking,
	}, &n)
	return int(n), err
}

// Token requests a LiveKit token that admits a hidden, passive recorder under the given identity.
// The API needs only its database for this, not LiveKit. session.ErrEnded: the session is over;
// ErrNotFound: it never existed.
func (c *Client) Token(ctx context.Context, sessionID, roomName, identity string) (session.Token,
	error,
) {
	if err := checkID(sessionID); err != nil {
		return session.Token{}, err
	}
	if identity == "" || roomName == "" {
		return session.Token{}, errors.New("SyncFlow API, token: room name and identity " +
			"are required")
	}
	body := struct {
		Identity    string `json:"identity"`
		Name        string `json:"name"`
		VideoGrants grants `json:"videoGrants"`
	}{identity, identity, passive(roomName)}
	var answer struct {
		Token string `json:"token"`
		URL   string `json:"livekitServerUrl"`
	}
	if err := c.do(ctx, call{
		endpoint: "token", method: http.MethodPost, path: "/sessions/" + sessionID + "/token",
		body: body, urgency: urgent,
	}, &answer); err != nil {
		return session.Token{}, err
	}
	if answer.Token == "" || answer.URL == "" {
		return session.Token{}, errors.New("SyncFlow API, token: the answer lacks the token or " +
			"the LiveKit address")
	}
	return session.Token{JWT: answer.Token, URL: answer.URL}, nil
}

// checkID returns an error unless id is a UUID. The API answers any other id in the path with a 500
// that looks transient.
func checkID(id string) error {
	if !session.IsUUID(id) {
		return fmt.Errorf("SyncFlow API: %q is not a UUID", redact.Text(id))
	}
	return nil
}

// ClockOffset returns how far the server's clock is ahead of ours, to about a second; known is
// false until an answer has been measured.
func (c *Client) ClockOffset() (offset time.Duration, known bool) { return c.clock.Value() }
