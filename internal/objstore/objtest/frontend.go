package objtest

import (
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// FrontEnd starts a proxy before the store at the given URL and returns its URL. The proxy changes
// of a request what proxies and front ends of stores are known to change: it asks for other
// encodings, drops the parameter that only names the operation, and adds headers of its own.
func FrontEnd(t *testing.T, store string) string {
	t.Helper()
	target, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the signature is for the name that was asked
			r.SetXForwarded()
			r.Out.Header.Set("Accept-Encoding", "gzip, br")
			r.Out.Header.Set("Via", "1.1 front-end")
			r.Out.Header.Set("Content-Type", strings.ToLower(r.In.Header.Get("Content-Type"))+
				";front-end")
			r.Out.Header.Set("User-Agent", "front-end")
			r.Out.Header.Del("Amz-Sdk-Request")
			r.Out.Header.Set("Amz-Sdk-Invocation-Id", "front-end")
			q := r.In.URL.Query()
			q.Del("x-id")
			r.Out.URL.RawQuery = q.Encode()
		},
	})
	t.Cleanup(srv.Close)
	return srv.URL
}
