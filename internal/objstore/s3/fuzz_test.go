package s3_test

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/s3"
)

// constant answers every request with the same.
type constant struct {
	status int
	header http.Header
	body   string
}

func (c constant) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return &http.Response{
		StatusCode: c.status, Header: c.header.Clone(),
		Body: io.NopCloser(strings.NewReader(c.body)), ContentLength: int64(len(c.body)),
		Request: r,
	}, nil
}

// FuzzAnswers: whatever a store answers, an error is explained without a key, a credential or a
// control character in it, nothing is taken for stored that was not acknowledged, and a wish to
// wait is neither negative nor for ever.
func FuzzAnswers(f *testing.F) {
	const xml = `<?xml version="1.0"?><Error><Code>%</Code><Message>No room/alice for AKIDEXAMPLE</Message></Error>`
	for _, code := range []string{
		"AccessDenied", "NoSuchKey", "NoSuchBucket", "SlowDown",
		"PermanentRedirect", "\x1b[2J", "", "RequestTimeTooSkewed",
	} {
		for _, status := range []int{200, 301, 307, 400, 403, 404, 503} {
			f.Add(status, strings.ReplaceAll(xml, "%", code), "30", "http://elsewhere/room/alice",
				"eu-central-1")
		}
	}
	f.Add(503, "", strconv.Itoa(1<<62), "", "")
	f.Add(302, "<html>", "Mon, 02 Jan 2106 15:04:05 GMT", "\x00", "a b")
	f.Add(200,
		`<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>`, "",
		"", "")
	f.Add(200, `<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>`, "-1", "", "")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter, location, region string) {
		if status < 200 || status > 599 {
			return
		}
		h := http.Header{}
		for name, v := range map[string]string{
			"Retry-After": retryAfter, "Location": location,
			"X-Amz-Bucket-Region": region,
		} {
			if v != "" {
				h.Set(name, v)
			}
		}
		b, err := s3.New(s3.Options{
			Endpoint: "http://store.test", Bucket: "bucket", AccessKey: accessKey,
			SecretKey: secretKey, Checksums: true,
			Transport: constant{status, h, body},
		})
		if err != nil {
			t.Fatal(err)
		}
		check := func(op string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%s: an answer without an ETag (status %d) is a success", op, status)
				return
			}
			e, ok := errors.AsType[*objstore.Error](err)
			if !ok {
				t.Errorf("%s: %T", op, err)
				return
			}
			text := objstore.Redacted(err, "")
			if text == "" || strings.Contains(text, "room/alice") ||
				strings.Contains(text, secretKey) || strings.Contains(text, accessKey) {
				t.Errorf("%s: %q", op, text)
			}
			for _, r := range text {
				if r < 0x20 || r == 0x7f {
					t.Errorf("%s: a control character in %q", op, text)
				}
			}
			if e.RetryAfter < 0 || e.NotFound && !e.Permanent {
				t.Errorf("%s: %+v", op, e)
			}
			if status/100 == 5 && status != 501 && e.NotFound {
				t.Errorf("%s: status %d is taken for not found", op, status)
			}
		}
		check("upload", b.Upload(t.Context(), "room/alice",
			objstore.Bytes([]byte("x"), "text/plain")))
		_, err = b.Stat(t.Context(), "room/alice")
		check("stat", err)
		_, err = b.Open(t.Context(), "room/alice")
		check("open", err)
		deadline := time.Now().Add(10 * time.Second)
		for _, err := range b.List(t.Context(), "room/") {
			if err != nil {
				check("list", err)
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the list does not end")
			}
		}
	})
}
