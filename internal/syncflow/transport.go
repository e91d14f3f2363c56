package syncflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// tryTimeout is longer than the 30 seconds for which the server waits for a database
	// connection. A shorter timeout would abandon requests that succeed.
	tryTimeout = 40 * time.Second
	// idleTimeout is shorter than the 5 seconds after which actix closes idle connections, so that
	// no request is sent on a connection that is closing.
	idleTimeout = 4 * time.Second

	maxTries   = 5
	firstPause = 500 * time.Millisecond
	maxPause   = 15 * time.Second
	// maxRetryAfter bounds the pause that a Retry-After header can request.
	maxRetryAfter = time.Minute

	errorBodyLimit    = 64 << 10
	bodyLimit         = 1 << 20
	participantsLimit = 8 << 20 // hundreds, some kilobytes each
	// the list has every session of the project so far, some 350 bytes each
	listBodyLimit = 64 << 20
)

func newHTTPClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.IdleConnTimeout = idleTimeout
	t.MaxIdleConnsPerHost = gateMost
	return &http.Client{Transport: t}
}

// call is one request to the API.
type call struct {
	endpoint string // label of metrics and errors, from a closed set
	method   string
	path     string // below /projects/{id}
	body     any    // nil for none
	limit    int64  // of the answer; 0 = bodyLimit
	// not retried: the caller has a better alternative after an error
	once    bool
	urgency urgency
}

// do performs a call with retries and decodes the answer into out. A definitive error of the API is
// an *APIError.
func (c *Client) do(ctx context.Context, k call, out any) error {
	var body []byte
	if k.body != nil {
		var err error
		if body, err = json.Marshal(k.body); err != nil {
			return fmt.Errorf("SyncFlow API, %s: encode the request: %w", k.endpoint, err)
		}
	}
	refusals, reconnected := 0, false
	for try := 1; ; try++ {
		err := c.try(ctx, k, body, out)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("SyncFlow API, %s: %w", k.endpoint, context.Cause(ctx))
		case errors.Is(err, session.ErrUnauthorized) && refusals < 2:
			// The first remedy is a fresh token: a clock may have been set. The second is a pause:
			// the API also answers 401 when its database fails while it looks the key up. The
			// request took no effect in either case, so even a registration may be repeated.
			c.signer.invalidate()
			if refusals++; refusals == 2 {
				if err := backoff.Sleep(ctx, c.pauses.Delay(2)); err != nil {
					return fmt.Errorf("SyncFlow API, %s: %w", k.endpoint, err)
				}
			}
			continue
		}
		f, ok := errors.AsType[*failure](err)
		if !ok {
			return err
		}
		if k.once {
			return f.err
		}
		if f.reused && !reconnected {
			reconnected = true // the server had just closed an idle connection: no need to wait
			continue
		}
		if f.gaveWay && try < maxTries {
			continue // the gate delays the next attempt
		}
		if try >= maxTries {
			return fmt.Errorf("%w (gave up after %d tries)", f.err, try)
		}
		pause := max(c.pauses.Delay(try), f.after)
		c.log.DebugContext(ctx, "SyncFlow API request failed, trying again", "endpoint", k.endpoint,
			"try", try, "next_attempt_in", pause, "error", f.err)
		if err := backoff.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("SyncFlow API, %s: %w", k.endpoint, err)
		}
	}
}

// failure is an error after which the same request may succeed.
type failure struct {
	err    error
	reused bool          // the request failed on a connection that was used before
	after  time.Duration // pause requested by the server
	// gaveWay: not a fault of the server; the request gave way to one of a recording
	gaveWay bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// try sends the request once. An error after which a retry may succeed is a *failure.
func (c *Client) try(ctx context.Context, k call, body []byte, out any) (err error) {
	tryCtx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	turn := &turn{
		urgency: k.urgency, giveUp: giveUp,
		once: k.urgency == housekeeping && k.method != http.MethodGet,
	}
	if err := c.gate.enter(tryCtx, turn); err != nil {
		return err
	}
	tryCtx, cancel := context.WithTimeout(tryCtx, tryTimeout)
	defer cancel()
	defer func() { c.gate.leave(turn, tryCtx.Err() == nil) }()
	begin, outcome := time.Now(), "ok"
	defer func() {
		c.metrics.requests.WithLabelValues(k.endpoint, outcome).Inc()
		c.metrics.seconds.WithLabelValues(k.endpoint).Observe(time.Since(begin).Seconds())
	}()

	token, err := c.signer.current()
	if err != nil {
		return err
	}
	reused := false
	tryCtx = httptrace.WithClientTrace(tryCtx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused },
	})
	req, err := http.NewRequestWithContext(tryCtx, k.method, c.base+"/projects/"+c.projectID+k.path,
		bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("SyncFlow API, %s: %w", k.endpoint, redact.Error(err, token))
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "textegress")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	sent := time.Now()
	resp, err := c.http.Do(req)
	if err == nil {
		defer resp.Body.Close()
		c.clock.Measure(resp.Header.Get("Date"), sent, time.Now())
	}
	if err != nil {
		outcome = netOutcome(ctx, tryCtx, err)
		if errors.Is(err, syscall.ECONNREFUSED) || connectionLost(err) && !reused &&
			time.Since(sent) < restartWait {
			c.gate.reset()
		}
		return &failure{
			err:     fmt.Errorf("SyncFlow API, %s: %w", k.endpoint, redact.Error(err, token)),
			reused:  reused && connectionLost(err),
			gaveWay: outcome == gaveWay,
		}
	}
	if resp.StatusCode != http.StatusOK {
		// a partial body is enough
		data, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit))
		apiErr := &APIError{
			Status: resp.StatusCode, Message: message(resp, data),
			Endpoint: k.endpoint,
		}
		switch {
		case resp.StatusCode == http.StatusUnauthorized:
			outcome = "unauthorized"
		case resp.StatusCode >= 500:
			outcome = "server_error"
		default:
			outcome = "client_error"
		}
		if apiErr.transient() {
			return &failure{err: apiErr, after: retryAfter(resp.Header.Get("Retry-After"))}
		}
		return apiErr
	}
	limit := k.limit
	if limit == 0 {
		limit = bodyLimit
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		outcome = netOutcome(ctx, tryCtx, err)
		return &failure{
			err: fmt.Errorf("SyncFlow API, %s: read the answer: %w", k.endpoint,
				redact.Error(err, token)),
			gaveWay: outcome == gaveWay,
		}
	case int64(len(data)) > limit:
		outcome = "bad_answer"
		return fmt.Errorf("SyncFlow API, %s: the answer is larger than %d bytes", k.endpoint, limit)
	}
	if err := json.Unmarshal(data, out); err != nil {
		outcome = "bad_answer"
		// The decoder's error can quote the answer, which may contain a token.
		return &failure{err: fmt.Errorf("SyncFlow API, %s: the answer is not what the API should "+
			"send (%d bytes of %s)", k.endpoint, len(data), contentType(resp))}
	}
	return nil
}

// message extracts the reason from an error answer: the API's JSON envelope, the plain text of its
// request parser, or the text of a proxy.
func message(resp *http.Response, data []byte) string {
	var envelope struct {
		Message *string `json:"message"`
	}
	if json.Unmarshal(data, &envelope) == nil && envelope.Message != nil {
		return redact.Text(*envelope.Message)
	}
	if loc := resp.Header.Get("Location"); loc != "" && resp.StatusCode < 400 {
		return redact.Text("redirect to " + loc)
	}
	if ct := contentType(resp); ct != "text/plain" && len(bytes.TrimSpace(data)) > 0 {
		return redact.Text(ct + ": " + string(data))
	}
	return redact.Text(string(data))
}

func contentType(resp *http.Response) string {
	ct, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || ct == "" {
		return "an unknown type"
	}
	return redact.Text(ct)
}

func retryAfter(header string) time.Duration {
	s, err := strconv.Atoi(strings.TrimSpace(header))
	if err != nil || s < 0 { // a date is ignored: it would require comparing clocks
		return 0
	}
	if s > int(maxRetryAfter/time.Second) {
		return maxRetryAfter
	}
	return time.Duration(s) * time.Second
}

// connectionLost reports whether the other side closed the connection without an answer.
func connectionLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// gaveWay is the outcome of a request that gave way to one of a recording.
const gaveWay = "gave_way"

// netOutcome returns the reason for a missing answer. ctx is the caller's context, tryCtx the
// request's.
func netOutcome(ctx, tryCtx context.Context, err error) string {
	var ne net.Error
	switch {
	case ctx.Err() != nil:
		return "canceled"
	case errors.Is(context.Cause(tryCtx), errGaveWay):
		return gaveWay
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	}
	return "network"
}
