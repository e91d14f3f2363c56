package s3_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/s3"
)

const (
	accessKey = "AKIDEXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

func options(srv *httptest.Server) s3.Options {
	return s3.Options{
		Endpoint: srv.URL, Bucket: "bucket", AccessKey: accessKey,
		SecretKey: secretKey, Checksums: true,
	}
}

func open(t *testing.T, o s3.Options) *s3.Bucket {
	t.Helper()
	b, err := s3.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				_, srv := newFakeS3(t)
				o := options(srv)
				o.Checksums, o.MultipartThreshold, o.PartSize = checksums, 2<<20, 2<<20
				return open(t, o)
			}, objtest.Options{Checksums: checksums, Large: 5 << 20})
		})
	}
}

func TestHeaders(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			f, srv := newFakeS3(t)
			o := options(srv)
			o.Checksums, o.MultipartThreshold, o.PartSize = checksums, 1<<20, 1<<20
			b := open(t, o)
			small := objstore.Bytes([]byte("x"), "text/plain; charset=utf-8")
			for _, err := range []error{
				b.Upload(t.Context(), "small", small),
				b.Upload(t.Context(), "large", objtest.Generated(3<<20, 1)),
				objstore.Verify(t.Context(), b, "small", small.Size, small.SHA256),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := f.objects["small"].contentType; got != small.ContentType {
				t.Errorf("content type %q", got)
			}
			bodies := f.seen(func(r *http.Request) bool { return r.Method == "PUT" })
			if len(bodies) != 4 {
				t.Errorf("%d bodies were sent, want 1 and 3 parts", len(bodies))
			}
			for _, r := range f.seen(func(*http.Request) bool { return true }) {
				for h := range r.Header {
					h = strings.ToLower(h)
					if !checksums && (strings.HasPrefix(h, "x-amz-checksum") ||
						strings.HasPrefix(h, "x-amz-sdk-checksum") || h == "x-amz-trailer") {
						t.Errorf("%s %s carries %s though checksums are off", r.Method, r.URL, h)
					}
				}
				if te := strings.Join(r.TransferEncoding, ""); te != "" ||
					strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
					t.Errorf("%s %s is sent in chunks, which clones refuse", r.Method, r.URL)
				}
			}
			for _, r := range bodies {
				if checksums && r.Header.Get("X-Amz-Checksum-Sha256") == "" {
					t.Errorf("PUT %s without its checksum", r.URL)
				}
			}
			if reads := f.seen(func(r *http.Request) bool {
				return r.Method == "GET" &&
					!r.URL.Query().Has("uploads")
			}); (len(reads) == 0) != checksums {
				t.Errorf("verification read back %d times", len(reads))
			}
		})
	}
}

// The table of what the uploader must know about an error.
func TestClassification(t *testing.T) {
	for name, tc := range map[string]struct {
		status    int
		code      string
		permanent bool
		remedy    string // part of it
	}{
		"wrong secret":            {403, "SignatureDoesNotMatch", true, "SECRET_KEY"},
		"unknown key":             {403, "InvalidAccessKeyId", true, "ACCESS_KEY"},
		"unknown key (versitygw)": {404, "XAdminUserNotFound", true, "ACCESS_KEY"},
		"denied":                  {403, "AccessDenied", true, "s3:PutObject"},
		"no bucket":               {404, "NoSuchBucket", true, "BUCKET_NAME"},
		"wrong region":            {400, "AuthorizationHeaderMalformed", true, "REGION"},
		"moved":                   {301, "PermanentRedirect", true, "REGION"},
		"moved, no XML":           {301, "", true, "REGION"},
		"permanently, no XML":     {308, "", true, "REGION"},
		"on its way":              {307, "TemporaryRedirect", false, "new bucket"},
		"for now, no XML":         {307, "", false, ""},
		"no checksum headers":     {501, "NotImplemented", true, "checksum"},
		"other bad request":       {400, "MalformedXML", true, ""},
		"clock":                   {403, "RequestTimeTooSkewed", false, "NTP"},
		"damaged on the way":      {400, "BadDigest", false, ""},
		"slow client":             {400, "RequestTimeout", false, ""},
		"throttled":               {503, "SlowDown", false, ""},
		"too many":                {429, "TooManyRequests", false, ""},
		"internal":                {500, "InternalError", false, ""},
		"bad gateway, no XML":     {502, "", false, ""},
		"forbidden, no XML":       {403, "", true, "s3:PutObject"},
		"conflict":                {409, "OperationAborted", false, ""},
		"full":                    {507, "XMinioStorageFull", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, srv := newFakeS3(t)
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				if tc.code == "" {
					http.Error(w, "<html>proxy says no</html>", tc.status)
				} else {
					answer(w, tc.status, tc.code, "No "+strings.TrimPrefix(r.URL.Path, "/bucket/")+
						" for "+accessKey+" with "+secretKey)
				}
				return true
			}
			b := open(t, options(srv))
			err := b.Upload(t.Context(), "room/alice.txt",
				objstore.Bytes([]byte("x"), "text/plain"))
			if err == nil {
				t.Fatal("no error")
			}
			if got := objstore.IsPermanent(err); got != tc.permanent {
				t.Errorf("permanent = %v, want %v: %v", got, tc.permanent, err)
			}
			if objstore.IsNotFound(err) {
				t.Errorf("an upload cannot be not found: %v", err)
			}
			e, _ := errors.AsType[*objstore.Error](err)
			if e == nil || !strings.Contains(e.Remedy, tc.remedy) {
				t.Errorf("remedy of %v does not name %q", err, tc.remedy)
			}
			for _, want := range []string{"room/alice.txt", "s3://bucket at " + srv.URL} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %q", err, want)
				}
			}
			if s := err.Error(); strings.Contains(s, secretKey) || strings.Contains(s, accessKey) {
				t.Errorf("credentials in %q", s)
			}
			if s := objstore.Redacted(err, ""); strings.Contains(s, "alice") || s == "" {
				t.Errorf("redacted text %q", s)
			}
		})
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	f, srv := newFakeS3(t)
	b := open(t, options(srv))
	for status, want := range map[int]struct{ notFound, permanent bool }{
		404: {true, true},
		403: {false, true}, 400: {false, true}, 503: {false, false}, 429: {false, false},
	} {
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
		_, err := b.Stat(t.Context(), "k")
		notFound, permanent := objstore.IsNotFound(err), objstore.IsPermanent(err)
		if notFound != want.notFound || permanent != want.permanent {
			t.Errorf("HEAD answered %d: not found %v, permanent %v: %v", status, notFound,
				permanent, err)
		}
	}
}

func TestTruncatedBodyIsAnError(t *testing.T) {
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "GET" {
			return false
		}
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("ETag", `"x"`)
		w.Write(make([]byte, 400))
		return true
	}
	b := open(t, options(srv))
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if e, _ := errors.AsType[*objstore.Error](err); n != 400 || e == nil || e.Permanent ||
		!errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v; want a transient error", n, err)
	}
}

func TestBrokenConnections(t *testing.T) {
	f, srv := newFakeS3(t)
	hijack := func(w http.ResponseWriter) net.Conn {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		return c
	}
	b := open(t, options(srv))
	big := objtest.Generated(8<<20, 2)
	for name, before := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"reset before the answer": func(w http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			hijack(w).Close()
			return true
		},
		"reset in the middle of the body": func(w http.ResponseWriter, r *http.Request) bool {
			io.CopyN(io.Discard, r.Body, 1<<20)
			c := hijack(w)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			return true
		},
		"throttled before the body": func(w http.ResponseWriter, _ *http.Request) bool {
			answer(w, 503, "SlowDown", "Reduce your request rate.")
			return true
		},
	} {
		f.before = before
		err := b.Upload(t.Context(), "room/alice", big)
		if err == nil || objstore.IsPermanent(err) {
			t.Errorf("%s: %v, want a transient error", name, err)
		}
		if s := objstore.Redacted(err, ""); strings.Contains(s, "alice") {
			t.Errorf("%s: redacted text %q", name, s)
		}
		f.before = nil
		if err := b.Upload(t.Context(), "room/alice", big); err != nil {
			t.Errorf("%s, second attempt: %v", name, err)
		}
	}
	srv.Close()
	if err := b.Upload(t.Context(), "room/alice", big); err == nil || objstore.IsPermanent(err) ||
		strings.Contains(objstore.Redacted(err, ""), "alice") {
		t.Errorf("refused connection: %v, want a transient error", err)
	}
}

func TestStalledServer(t *testing.T) {
	f, srv := newFakeS3(t)
	release := make(chan struct{})
	f.before = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	t.Cleanup(func() { close(release) }) // before the server is closed
	o := options(srv)
	o.StallTimeout = 50 * time.Millisecond
	b := open(t, o)
	err := b.Upload(t.Context(), "k", objstore.Bytes([]byte("x"), "text/plain"))
	if err == nil || objstore.IsPermanent(err) || errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), "nothing was sent or received") {
		t.Errorf("Upload to a server that never answers = %v", err)
	}
	if _, err := b.Stat(t.Context(), "k"); err == nil || objstore.IsNotFound(err) {
		t.Errorf("Stat of a server that never answers = %v", err)
	}
}

func TestTLSAndSchemeMistakes(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for endpoint, remedy := range map[string]string{
		srv.URL: "authority",
		"https" + strings.TrimPrefix(plain.URL, "http"): "http://",
	} {
		b := open(t, s3.Options{
			Endpoint: endpoint, Bucket: "bucket", AccessKey: accessKey,
			SecretKey: secretKey,
		})
		_, err := b.Stat(t.Context(), "k")
		if e, _ := errors.AsType[*objstore.Error](err); e == nil || !e.Permanent ||
			!strings.Contains(e.Remedy, remedy) {
			t.Errorf("Stat at %s = %v, want a permanent error naming %q", endpoint, err, remedy)
		}
	}
}

func TestFailedPartsAreAborted(t *testing.T) {
	f, srv := newFakeS3(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == "2" {
			answer(w, 500, "InternalError", "try again")
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
	if len(f.uploads) != 0 {
		t.Errorf("parts of %d uploads were left behind", len(f.uploads))
	}
	// Other content than announced is found before anything becomes visible.
	f.before = nil
	wrong := objtest.Generated(3<<20, 1)
	wrong.SHA256 = strings.Repeat("0", 64)
	if err := b.Upload(t.Context(), "large", wrong); err == nil || len(f.objects) != 0 ||
		len(f.uploads) != 0 {
		t.Errorf("Upload of other content = %v; %d objects, %d uploads", err, len(f.objects),
			len(f.uploads))
	}
}

func TestUploadsAreStreamed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
		if r.URL.Query().Has("uploads") {
			io.WriteString(w,
				`<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
		} else if r.Method == "POST" {
			io.WriteString(w,
				`<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>`)
		}
	}))
	t.Cleanup(srv.Close)
	o := options(srv)
	for name, threshold := range map[string]int64{"one request": 1 << 30, "parts": 5 << 20} {
		o.MultipartThreshold, o.PartSize = threshold, 5<<20
		b := open(t, o)
		obj := objtest.Generated(20<<20, 3)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		if err := b.Upload(t.Context(), "large", obj); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: uploading 20 MiB allocated %d bytes altogether", name, n)
		}
	}
}

func TestNewExplainsMistakes(t *testing.T) {
	for name, o := range map[string]s3.Options{
		"no bucket":    {Endpoint: "https://s3.example.org"},
		"other scheme": {Endpoint: "ftp://s3.example.org", Bucket: "b"},
		"credentials in endpoint": {
			Endpoint: "https://user:" + secretKey + "@s3.example.org",
			Bucket:   "b",
		},
	} {
		if _, err := s3.New(o); err == nil || strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for endpoint, want := range map[string]string{
		"minio.lab:9000":                        "s3://b at https://minio.lab:9000",
		"http://127.0.0.1:9000/":                "s3://b at http://127.0.0.1:9000",
		"":                                      "s3://b at AWS us-east-1",
		"https://s3.eu-central-1.amazonaws.com": "s3://b at https://s3.eu-central-1.amazonaws.com",
	} {
		if got := open(t, s3.Options{Endpoint: endpoint, Bucket: "b"}).String(); got != want {
			t.Errorf("endpoint %q: %q, want %q", endpoint, got, want)
		}
	}
}
