package s3test

import (
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// frontEnd is a proxy before the real store that changes of requests what such proxies are known to
// change.
func frontEnd(t *testing.T) string {
	t.Helper()
	target, err := url.Parse(servers.S3.Endpoint)
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
			r.Out.Header.Set("User-Agent", "front-end")
			r.Out.Header.Set("Content-Type", strings.ToLower(r.In.Header.Get("Content-Type"))+
				";front-end")
			q := r.In.URL.Query()
			q.Del("x-id")
			r.Out.URL.RawQuery = q.Encode()
		},
	})
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestConformanceBehindAFrontEnd(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			front := frontEnd(t)
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				o := options(t)
				o.Endpoint, o.Checksums = front, checksums
				return open(t, o)
			}, objtest.Options{Checksums: checksums, Large: 40 << 20})
		})
	}
}

func TestUnfinishedUploads(t *testing.T) {
	o := options(t)
	client := servers.S3.Client()
	begin := func(key string) {
		if _, err := client.CreateMultipartUpload(t.Context(),
			&awss3.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	begun := func() []string {
		out, err := client.ListMultipartUploads(t.Context(),
			&awss3.ListMultipartUploadsInput{Bucket: &o.Bucket})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, u := range out.Uploads {
			keys = append(keys, aws.ToString(u.Key))
		}
		return slices.Sorted(slices.Values(keys))
	}
	objtest.Unfinished(t, open(t, o), begin, begun)
}
