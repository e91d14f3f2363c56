package s3_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/syncflow/textegress/internal/objstore/s3"
)

// recorded keeps the last request and answers none.
type recorded struct{ last *http.Request }

func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	r.last = req
	return nil, errors.New("no network")
}

// Without a setting, the bucket is in the host name at Amazon and in the path everywhere else.
func TestPathStyle(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		setting  *bool
		want     bool
	}{
		{"", nil, false},
		{"https://s3.eu-west-1.amazonaws.com", nil, false},
		{"https://S3.amazonaws.com", nil, false},
		{"https://s3.cn-north-1.amazonaws.com.cn", nil, false},
		{"https://minio.lab:9000", nil, true},
		{"https://evilamazonaws.com", nil, true},
		{"https://s3.amazonaws.com.example.org", nil, true},
		{"https://s3.cn-north-1.amazonaws.com.cn", new(true), true},
		{"https://minio.lab:9000", new(false), false},
	} {
		var r recorded
		b := open(t, s3.Options{
			Endpoint: c.endpoint, Bucket: "recordings", AccessKey: "key", SecretKey: "secret",
			PathStyle: c.setting, Transport: &r,
		})
		if _, err := b.Stat(t.Context(), "k"); err == nil || r.last == nil {
			t.Fatalf("%q: no request was made (%v)", c.endpoint, err)
		}
		if got := r.last.URL.Path == "/recordings/k"; got != c.want {
			t.Errorf("%q: %s, path style is %v, want %v", c.endpoint, r.last.URL, got, c.want)
		}
	}
}
