package s3_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// uriEncode is UriEncode() of
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func uriEncode(s, keep string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9',
			strings.IndexByte("-._~"+keep, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// signatureError computes the signature of a request as it arrived, as a store does. What the
// signature covers, the request itself says.
func signatureError(r *http.Request) error {
	fields := map[string]string{}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return fmt.Errorf("no signature")
	}
	for part := range strings.SplitSeq(text, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	id, scope, _ := strings.Cut(fields["Credential"], "/")
	if id != accessKey {
		return fmt.Errorf("another key")
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	var headers strings.Builder
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	// What a store demands to be covered.
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") &&
			!slices.Contains(names, name) {
			return fmt.Errorf("%s is not signed", name)
		}
	}
	if !slices.Contains(names, "host") {
		return fmt.Errorf("host is not signed")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	var pairs []string
	for k, values := range query {
		for _, v := range values {
			pairs = append(pairs, uriEncode(k, "")+"="+uriEncode(v, ""))
		}
	}
	slices.Sort(pairs)
	canonical := strings.Join([]string{
		r.Method, uriEncode(r.URL.Path, "/"), strings.Join(pairs, "&"), headers.String(),
		fields["SignedHeaders"],
		r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{
		"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope,
		hex.EncodeToString(sum[:]),
	}, "\n")
	key := []byte("AWS4" + secretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	if want := hex.EncodeToString(mac(key, toSign)); want != fields["Signature"] {
		return fmt.Errorf("the signature does not match\n%s", canonical)
	}
	return nil
}

func TestSignaturesSurviveAFrontEnd(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				_, store := newFakeS3(t)
				o := options(store)
				o.Endpoint = objtest.FrontEnd(t, store.URL)
				o.Checksums, o.MultipartThreshold, o.PartSize = checksums, 2<<20, 2<<20
				return open(t, o)
			}, objtest.Options{Checksums: checksums, Large: 5 << 20})
		})
	}
}

// Signed are the host and the x-amz-* headers, all of them, and nothing else; no request names its
// operation.
func TestWhatIsSigned(t *testing.T) {
	f, srv := newFakeS3(t)
	o := options(srv)
	o.MultipartThreshold, o.PartSize = 1<<20, 1<<20
	b := open(t, o)
	for _, size := range []int64{10, 3 << 20} {
		if err := b.Upload(t.Context(), "k", objtest.Generated(size, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Stat(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		r, err := b.Open(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	for _, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	requests := f.seen(func(*http.Request) bool { return true })
	if len(requests) < 10 {
		t.Fatalf("%d requests", len(requests))
	}
	for _, r := range requests {
		_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		signed, _, _ = strings.Cut(signed, ",")
		for name := range strings.SplitSeq(signed, ";") {
			if name != "host" && !strings.HasPrefix(name, "x-amz-") {
				t.Errorf("%s %s signs %s", r.Method, r.URL, name)
			}
		}
		if r.URL.Query().Has("x-id") {
			t.Errorf("%s %s names its operation", r.Method, r.URL)
		}
	}
}
