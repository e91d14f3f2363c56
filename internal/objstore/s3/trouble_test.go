package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// HEAD is answered without a body. What an operator must do is in the answer to the same question
// as GET.
func TestStatSaysWhyItIsRefused(t *testing.T) {
	for code, want := range map[string]struct {
		status    int
		permanent bool
		remedy    string
	}{
		"SignatureDoesNotMatch":        {403, true, "SECRET_KEY"},
		"InvalidAccessKeyId":           {403, true, "ACCESS_KEY"},
		"AccessDenied":                 {403, true, "s3:PutObject"},
		"RequestTimeTooSkewed":         {403, false, "NTP"},
		"AuthorizationHeaderMalformed": {400, true, "REGION"},
	} {
		f, srv := newFakeS3(t)
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "HEAD" {
				w.WriteHeader(want.status)
			} else {
				answer(w, want.status, code, "No.")
			}
			return true
		}
		b := open(t, options(srv))
		_, err := b.Stat(t.Context(), "room/alice")
		e, _ := errors.AsType[*objstore.Error](err)
		if e == nil || objstore.IsPermanent(err) != want.permanent || objstore.IsNotFound(err) ||
			!strings.Contains(e.Remedy, want.remedy) || e.Op != "stat" {
			t.Errorf("%s: Stat = %v, want permanent %v and %q", code, err, want.permanent,
				want.remedy)
		}
	}
}

// A clock that is wrong by an hour: the first request is refused, and the SDK then goes by the
// store's clock.
func TestClockSkewIsCorrected(t *testing.T) {
	f, srv := newFakeS3(t)
	skew := time.Hour
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		now := time.Now().Add(skew)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error(err)
		}
		if d := now.Sub(at).Abs(); d < 15*time.Minute {
			return false
		}
		if r.Method == "HEAD" {
			w.WriteHeader(403)
		} else {
			answer(w, 403, "RequestTimeTooSkewed",
				"The difference between the request time and the server's time is too large.")
		}
		return true
	}
	b := open(t, options(srv))
	obj := objstore.Bytes([]byte("x"), "text/plain")
	err := b.Upload(t.Context(), "k", obj)
	if e, _ := errors.AsType[*objstore.Error](err); e == nil || e.Permanent ||
		!strings.Contains(e.Remedy, "NTP") {
		t.Errorf("the first request = %v, want a transient error that names the clock", err)
	}
	if err := b.Upload(t.Context(), "k", obj); err != nil {
		t.Errorf("the second request = %v", err)
	}
	// Also where the first one is a HEAD, which does not say what is wrong.
	b = open(t, options(srv))
	if err := objstore.Verify(t.Context(), b, "k", obj.Size, obj.SHA256); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// Redirects are explained, not followed: the signature is for one host.
func TestRedirects(t *testing.T) {
	followed := false
	other, elsewhere := newFakeS3(t)
	other.before = func(http.ResponseWriter, *http.Request) bool { followed = true; return false }
	for name, tc := range map[string]struct {
		status int
		header map[string]string
		remedy string
	}{
		"to another region": {
			301,
			map[string]string{"X-Amz-Bucket-Region": "eu-central-1"},
			"eu-central-1",
		},
		"to another host, for good": {308, map[string]string{"Location": elsewhere.URL +
			"/bucket/room/alice"}, elsewhere.URL + ": set ENDPOINT"},
		"to another host, for now": {307, map[string]string{"Location": elsewhere.URL +
			"/bucket/room/alice"}, elsewhere.URL + ": set ENDPOINT"},
		"to nowhere": {301, nil, "REGION or ENDPOINT"},
		"to nonsense": {302, map[string]string{
			"Location":            "http://%zz",
			"X-Amz-Bucket-Region": "a b",
		}, "REGION or ENDPOINT"},
	} {
		f, srv := newFakeS3(t)
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			for k, v := range tc.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(tc.status)
			return true
		}
		b := open(t, options(srv))
		for op, call := range map[string]func() error{
			"upload": func() error {
				return b.Upload(t.Context(), "room/alice",
					objstore.Bytes([]byte("x"), "text/plain"))
			},
			"stat": func() error { _, err := b.Stat(t.Context(), "room/alice"); return err },
			"open": func() error { _, err := b.Open(t.Context(), "room/alice"); return err },
		} {
			err := call()
			e, _ := errors.AsType[*objstore.Error](err)
			if e == nil || e.Permanent != (tc.status != 307) || e.NotFound ||
				!strings.Contains(e.Remedy, tc.remedy) ||
				strings.Contains(objstore.Redacted(err, ""), "alice") {
				t.Errorf("%s, %s = %v, want the remedy %q", name, op, err, tc.remedy)
			}
		}
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	f, srv := newFakeS3(t)
	b := open(t, options(srv))
	for header, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "-1": 0, "soon": 0, "99999999999999999999": 0,
		"Mon, 02 Jan 2006 15:04:05 GMT":                         0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", header)
			answer(w, 503, "SlowDown", "Reduce your request rate.")
			return true
		}
		err := b.Upload(t.Context(), "k", objstore.Bytes([]byte("x"), "text/plain"))
		if got := objstore.RetryAfter(err); got > want || got < want-time.Minute ||
			objstore.IsPermanent(err) {
			t.Errorf("Retry-After %q: %v, want %v (%v)", header, got, want, err)
		}
	}
}

// Whatever stands between us and the store and answers 200 to everything, like the login page of a
// network, must not be taken for a store: neither for success nor for an object of other content,
// which would begin a new revision.
func TestAnAnswerThatIsNotAStores(t *testing.T) {
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprint(w, "<html>Please log in</html>")
		return true
	}
	b := open(t, options(srv))
	obj := objstore.Bytes([]byte("x"), "text/plain")
	check := func(op string, err error) {
		t.Helper()
		e, _ := errors.AsType[*objstore.Error](err)
		if e == nil || e.Permanent || e.NotFound || errors.Is(err, objstore.ErrDiffers) {
			t.Errorf("%s = %v, want a transient error", op, err)
		}
	}
	check("Upload", b.Upload(t.Context(), "k", obj))
	_, err := b.Stat(t.Context(), "k")
	check("Stat", err)
	_, err = b.Open(t.Context(), "k")
	check("Open", err)
	check("Verify", objstore.Verify(t.Context(), b, "k", obj.Size, obj.SHA256))
	var last error
	for _, last = range b.List(t.Context(), "") {
		continue
	}
	check("List", last)
	last = nil
	for _, last = range b.Versions(t.Context(), "") {
		continue
	}
	check("Versions", last)
	check("Delete", b.Delete(t.Context(), "k"))
	check("DeleteVersion", b.DeleteVersion(t.Context(), "k", "1"))
	check("Upload in parts", b.Upload(t.Context(), "k", objtest.Generated(17<<20, 1)))
}

// S3 answers CompleteMultipartUpload with 200 before it knows how it ends; an error can follow in
// the body.
func TestErrorAfter200(t *testing.T) {
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" && r.URL.Query().Has("uploadId") {
			io.Copy(io.Discard, r.Body)
			answer(w, 200, "InternalError", "We encountered an internal error. Please try again.")
			return true
		}
		return false
	}
	o := options(srv)
	o.MultipartThreshold, o.PartSize = 1<<20, 1<<20
	b := open(t, o)
	if err := b.Upload(t.Context(), "large", objtest.Generated(3<<20, 1)); err == nil ||
		objstore.IsPermanent(err) {
		t.Errorf("Upload = %v, want a transient error", err)
	}
}

// A line so slow that the call as a whole takes longer than the stall timeout, with something
// moving all the time.
func TestASlowStoreIsNotAStalledOne(t *testing.T) {
	const stall, step = time.Second, 300 * time.Millisecond
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch r.Method {
		case "PUT":
			// answers late, when everything was taken from it: proxies on the way are still sending
			io.Copy(io.Discard, r.Body)
			time.Sleep(stall + step) //nolint:forbidigo // a slow store
			w.Header().Set("ETag", `"x"`)
		case "GET":
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Length", "60")
			for range 6 {
				w.Write(make([]byte, 10))
				w.(http.Flusher).Flush()
				time.Sleep(step) //nolint:forbidigo // a slow store
			}
		}
		return true
	}
	o := options(srv)
	o.StallTimeout = stall
	b := open(t, o)
	if err := b.Upload(t.Context(), "k", objtest.Generated(64<<10, 1)); err != nil {
		t.Errorf("Upload = %v", err)
	}
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != 60 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
