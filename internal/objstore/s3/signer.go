package s3

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signer signs only the parts of a request that no intermediary has a reason to change: method,
// path, query, host and the x-amz-* headers. Proxies and front ends of stores (Google's, for
// example) rewrite Accept-Encoding, Content-Length or Content-Type, and the store then rejects a
// signature that covers them. x-amz-content-sha256 covers the body. AWS's older SDKs left out the
// same headers.
type signer struct{ v4 *v4.Signer }

func newSigner() signer {
	return signer{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
}

// SignHTTP implements the SDK's HTTPSignerV4.
func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payloadHash,
	service, region string,
	at time.Time, o ...func(*v4.SignerOptions),
) error {
	r.URL.RawQuery = withoutOperation(r.URL.RawQuery)
	bare := r.Clone(ctx)
	bare.ContentLength = 0 // otherwise the SDK signs it
	for name := range bare.Header {
		if !strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			delete(bare.Header, name)
		}
	}
	if err := s.v4.SignHTTP(ctx, c, bare, payloadHash, service, region, at, o...); err != nil {
		return err
	}
	r.Header, bare.Header = bare.Header, r.Header
	for name, values := range bare.Header {
		if _, ok := r.Header[name]; !ok {
			r.Header[name] = values
		}
	}
	r.URL.RawQuery = bare.URL.RawQuery
	return nil
}

// withoutOperation removes the parameter x-id, which the SDK sets to the name of the operation. No
// store needs it. Some front ends drop it, and the store then rejects a signature that covers it.
func withoutOperation(query string) string {
	q, err := url.ParseQuery(query)
	if err != nil || !q.Has("x-id") {
		return query
	}
	q.Del("x-id")
	return q.Encode()
}
