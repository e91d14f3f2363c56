package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/redact"
)

const (
	requestTimeout = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer that are read, so that its connection is reused
	statusGone     = http.StatusGone
)

// newClient returns the client of all receivers. It follows no redirects and uses no proxy: a proxy
// would connect to addresses that this process cannot check.
func newClient(allowPrivate bool) *http.Client {
	d := &net.Dialer{Timeout: requestTimeout, Control: onlyPublic}
	if allowPrivate {
		d.Control = nil
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: requestTimeout, MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost: concurrency + messageConcurrency, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// send makes one request. A nil error means that the receiver has accepted the body. code is the
// status of its answer, 0 if there is none; retryAfter is the pause that the receiver requests.
//
// The end of ctx does not interrupt a request: the receiver may already have accepted it, and
// would get it twice.
func (n *Notifier) send(ctx context.Context, l link, body []byte) (
	code int, retryAfter time.Duration, err error,
) {
	if l.requested {
		if err := CheckURL(l.URL, n.o.Hosts); err != nil {
			return 0, 0, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	token, err := l.Key.SignBody(body)
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", "application/webhook+json")
	req.Header.Set("User-Agent", "textegress")
	res, err := n.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()                    //nolint:errcheck // the body is ignored
	io.CopyN(io.Discard, res.Body, maxAnswer) //nolint:errcheck // the status counts
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return code, 0, nil
	case code >= 300 && code < 400:
		return code, 0, fmt.Errorf("answer %d: redirects are not followed; set the final URL", code)
	default:
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			retryAfter = retryAfterOf(res)
		}
		return code, retryAfter, fmt.Errorf("answer %d %s", code, http.StatusText(code))
	}
}

// retryAfterOf returns the Retry-After header of an answer, if it is in seconds, otherwise 0.
func retryAfterOf(res *http.Response) time.Duration {
	s, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return min(time.Duration(min(s, 1<<20))*time.Second, eventPauses.Max)
}

// errorText returns the text of an error without the URL: every part but the host may be a secret.
func errorText(err error, raw string) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, ErrAddress) {
		err = ErrAddress
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", requestTimeout)
	}
	hidden := []string{raw}
	if u, parseErr := url.Parse(raw); parseErr == nil {
		hidden = append(hidden, u.RawQuery)
		if u.User != nil {
			hidden = append(hidden, u.User.String())
		}
		if len(u.Path) > 1 {
			hidden = append(hidden, u.Path)
		}
	}
	return redact.Text(err.Error(), hidden...)
}
