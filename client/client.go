// Package client starts, stops and lists the recordings of a textegress service, and reads their
// completeness statements, over the service's API.
//
// Every method may be called from any goroutine. After a temporary error (the service restarts, a
// connection breaks), a request is retried a few times; all requests are idempotent. Errors of the
// service are [twirp.Error] values: the code states the problem, and the message what to do.
// docs/API.md lists them.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/dataegress"
)

const (
	// tokenLifetime is how long a token is valid; each attempt has its own.
	tokenLifetime = 5 * time.Minute
	// attemptTimeout bounds one attempt. A start that waits for its room takes 20 s.
	attemptTimeout = 30 * time.Second

	attempts   = 5
	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Client calls the API of one service as one LiveKit project.
type Client struct {
	api    dataegress.DataEgress
	key    string
	secret string
	room   string
	http   *http.Client
}

// Option changes a Client that New makes.
type Option func(*Client)

// WithHTTPClient sets the HTTP client, for example one with the certificate of a private authority.
// The client never follows redirects.
func WithHTTPClient(c *http.Client) Option { return func(o *Client) { o.http = c } }

// WithRoom restricts the client's tokens to one room: it then sees and changes the recordings of
// that room only.
func WithRoom(name string) Option { return func(o *Client) { o.room = name } }

// New returns a client for the service at a URL, such as http://textegress:9464, with the API key
// and secret of a LiveKit project that the service is configured with. It does not connect.
func New(serviceURL, apiKey, apiSecret string, options ...Option) (*Client, error) {
	u, err := url.Parse(serviceURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("textegress client: the URL must begin with http:// or https:// " +
			"and name a host")
	}
	if apiKey == "" || apiSecret == "" {
		return nil, errors.New("textegress client: an API key and its secret are required")
	}
	c := &Client{key: apiKey, secret: apiSecret, http: &http.Client{}}
	for _, option := range options {
		option(c)
	}
	c.api = dataegress.NewDataEgressProtobufClient(strings.TrimRight(serviceURL, "/"), c.http)
	return c, nil
}

// Start records a room. It returns when the intent to record is durable; the recorder joins soon
// after that. If the request has no RequestId, Start adds a random one, so that retries are safe.
func (c *Client) Start(ctx context.Context, req *dataegress.StartDataEgressRequest) (
	*livekit.EgressInfo, error,
) {
	if req.GetRequestId() == "" {
		req = proto.CloneOf(req)
		if req == nil {
			req = &dataegress.StartDataEgressRequest{}
		}
		req.RequestId = rand.Text()
	}
	return call(ctx, c, "start a recording", req, c.api.StartDataEgress)
}

// Stop ends a recording, or the one that continues it if it has ended. The decision is durable when
// it returns. [Client.Wait] waits for the delivery.
func (c *Client) Stop(ctx context.Context, egressID string) (*livekit.EgressInfo, error) {
	return call(ctx, c, "stop "+egressID, &dataegress.StopDataEgressRequest{EgressId: egressID},
		c.api.StopDataEgress)
}

// List returns the recordings that a request selects, the newest last; nil selects all. It reads
// every page, beginning with that of the request.
func (c *Client) List(ctx context.Context, req *dataegress.ListDataEgressRequest) (
	[]*livekit.EgressInfo, error,
) {
	next := &dataegress.ListDataEgressRequest{}
	if req != nil {
		next = proto.CloneOf(req)
	}
	var pages [][]*livekit.EgressInfo
	for {
		page, err := call(ctx, c, "list recordings", next, c.api.ListDataEgress)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page.GetItems())
		if page.GetNextPageToken().GetToken() == "" {
			slices.Reverse(pages)
			return slices.Concat(pages...), nil
		}
		next.PageToken = page.GetNextPageToken()
	}
}

// Statement sums up what a recording captured and what it did not. Its figures may grow until Final
// is true.
func (c *Client) Statement(ctx context.Context, egressID string) (*dataegress.Statement, error) {
	return call(ctx, c, "statement of "+egressID,
		&dataegress.GetStatementRequest{EgressId: egressID}, c.api.GetStatement)
}

// Wait returns a recording once it has ended: with the status EGRESS_COMPLETE it is delivered and
// verified; with EGRESS_FAILED or EGRESS_ABORTED its Error states why it ended. Wait polls every
// few seconds until ctx ends, also while the service cannot be reached.
func (c *Client) Wait(ctx context.Context, egressID string) (*livekit.EgressInfo, error) {
	for n := 1; ; n++ {
		e, err := c.get(ctx, egressID)
		switch {
		case err != nil && (ctx.Err() != nil || !temporary(err)):
			return nil, err
		case err == nil && e.GetStatus() >= livekit.EgressStatus_EGRESS_COMPLETE:
			return e, nil
		}
		if err := pause(ctx, n); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", egressID, err)
		}
	}
}

// get returns one recording.
func (c *Client) get(ctx context.Context, egressID string) (*livekit.EgressInfo, error) {
	list, err := call(ctx, c, "wait for "+egressID,
		&dataegress.ListDataEgressRequest{EgressId: egressID}, c.api.ListDataEgress)
	switch {
	case err != nil:
		return nil, err
	case len(list.GetItems()) != 1:
		return nil, fmt.Errorf("wait for %s: the service sent %d recordings", egressID,
			len(list.GetItems()))
	}
	return list.GetItems()[0], nil
}

// call sends a request, and retries it after a temporary error.
func call[Req, Resp any](ctx context.Context, c *Client, what string, req *Req,
	method func(context.Context, *Req) (*Resp, error),
) (*Resp, error) {
	for n := 1; ; n++ {
		resp, err := attempt(ctx, c, req, method)
		if err == nil {
			return resp, nil
		}
		if n < attempts && ctx.Err() == nil && temporary(err) && pause(ctx, n) == nil {
			continue
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
}

// attempt sends a request once.
func attempt[Req, Resp any](ctx context.Context, c *Client, req *Req,
	method func(context.Context, *Req) (*Resp, error),
) (*Resp, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, err
	}
	return method(ctx, req)
}

// token returns an access token.
func (c *Client) token() (string, error) {
	video := map[string]any{"roomRecord": true}
	if c.room != "" {
		video["room"] = c.room
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": c.key, "sub": "textegress-client", "exp": time.Now().Add(tokenLifetime).Unix(),
		"video": video,
	}).SignedString([]byte(c.secret))
	if err != nil {
		return "", fmt.Errorf("sign an access token: %w", err)
	}
	return token, nil
}

// temporary reports whether a retried request may succeed.
func temporary(err error) bool {
	var (
		answer  twirp.Error
		network *url.Error
	)
	if errors.As(err, &network) { // Twirp gives it the code internal
		return true
	}
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code() {
	case twirp.Unavailable, twirp.DeadlineExceeded, twirp.ResourceExhausted:
		return true
	default:
		return false
	}
}

// pause waits after the given number of failures. Pauses double up to maxPause, with jitter, so
// that clients that failed together do not retry together.
func pause(ctx context.Context, failures int) error {
	longest := min(maxPause, firstPause<<min(failures-1, 10))
	timer := time.NewTimer(longest/2 + mathrand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
