package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/s3"
)

// repeated is a body without an end, which counts what was read of it.
type repeated struct {
	head, unit string
	read       int64
	closed     bool
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.read < int64(len(r.head)) {
			c := copy(p[n:], r.head[r.read:])
			n, r.read = n+c, r.read+int64(c)
			continue
		}
		at := (r.read - int64(len(r.head))) % int64(len(r.unit))
		c := copy(p[n:], r.unit[at:])
		n, r.read = n+c, r.read+int64(c)
	}
	return n, nil
}

func (r *repeated) Close() error { r.closed = true; return nil }

// endless answers every request with a status and a body without an end.
type endless struct {
	status int
	header http.Header
	bodies []*repeated
	body   repeated
}

func (e *endless) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if r.Method == "HEAD" {
		return &http.Response{
			StatusCode: e.status, Header: e.header.Clone(), Body: http.NoBody,
			ContentLength: -1, Request: r,
		}, nil
	}
	b := e.body
	b.unit = strings.Repeat(b.unit, 1+32<<10/len(b.unit)) // many at once are quicker
	e.bodies = append(e.bodies, &b)
	return &http.Response{
		StatusCode: e.status, Header: e.header.Clone(), Body: &b,
		ContentLength: -1, Request: r,
	}, nil
}

// Whatever a store sends, no more of it is read than an answer can have, and no more is made of it
// than a page can hold: the recordings of all other projects are in the same process.
func TestEndlessAnswers(t *testing.T) {
	const page = 9 << 20 // more than any page
	list := `<ListBucketResult><Name>bucket</Name>`
	for name, tc := range map[string]struct {
		status     int
		head, unit string
		most       int64
	}{
		"an error": {
			503, `<Error><Code>SlowDown</Code><Message>`, "slower ",
			128 << 10,
		},
		"a refusal of nothing":      {403, "", "\x00", 128 << 10},
		"a redirect":                {307, "<html>", "<br>", 128 << 10},
		"an error, nested":          {500, "<Error>", "<a>", 64 << 10},
		"a list of one long key":    {200, list + "<Contents><Key>", "k", page},
		"a list, nested":            {200, list, "<a>", 64 << 10},
		"a list of empty elements":  {200, list, "<Contents/>", 1 << 20},
		"a list of attributes":      {200, list + "<Contents", ` a=""`, 1 << 20},
		"white space":               {200, "", " ", page},
		"nested after a comment":    {200, "<!-- > <a> -->" + list, "<a>", 64 << 10},
		"nested after a document":   {200, "<!DOCTYPE a [ ]>" + list, "<a>", 64 << 10},
		"nested after CDATA":        {200, list + "<![CDATA[ ]> ]]>", "<a>", 64 << 10},
		"quotes that hold brackets": {200, list, `<a b=">" c='/>'>`, 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endless{
				status: tc.status, header: http.Header{"Etag": {`"x"`}},
				body: repeated{head: tc.head, unit: tc.unit},
			}
			b, err := s3.New(s3.Options{
				Endpoint: "http://store.test", Bucket: "bucket", AccessKey: accessKey,
				SecretKey: secretKey, Checksums: true,
				Transport: e, MultipartThreshold: 1 << 20, PartSize: 1 << 20,
			})
			if err != nil {
				t.Fatal(err)
			}
			must := func(op string, err error) {
				t.Helper()
				if _, ok := errors.AsType[*objstore.Error](err); !ok {
					t.Errorf("%s = %v, want an error", op, err)
				}
			}
			for _, err := range b.List(t.Context(), "") {
				must("List", err)
			}
			if len(e.bodies) == 0 {
				t.Error("List made no request")
			}
			if tc.most == page { // once is enough for so many bytes
				e.done(t, tc.most)
				return
			}
			for _, err := range b.Versions(t.Context(), "") {
				must("Versions", err)
			}
			must("Upload in parts", b.Upload(t.Context(), "large", objtest.Generated(3<<20, 1)))
			if tc.status != 200 {
				must("Upload", b.Upload(t.Context(), "k",
					objstore.Bytes([]byte("x"), "text/plain")))
				_, err := b.Open(t.Context(), "k")
				must("Open", err)
				_, err = b.Stat(t.Context(), "k")
				must("Stat", err)
				must("Delete", b.Delete(t.Context(), "k"))
			}
			e.done(t, tc.most)
		})
	}
}

// done checks that no answer was read beyond a bound and that all were closed.
func (e *endless) done(t *testing.T, most int64) {
	t.Helper()
	for i, body := range e.bodies {
		if body.read > most {
			t.Errorf("answer %d: %d bytes were read, want at most %d", i, body.read, most)
		}
		if !body.closed {
			t.Errorf("answer %d was not closed", i)
		}
	}
}

// The content of an object is as long as it is; but where it is compared, no more of it is read
// than is expected.
func TestEndlessObject(t *testing.T) {
	e := &endless{status: 200, header: http.Header{"Etag": {`"x"`}}, body: repeated{unit: "x"}}
	o := s3.Options{
		Endpoint: "http://store.test", Bucket: "bucket", AccessKey: accessKey,
		SecretKey: secretKey, Transport: e,
	}
	b := open(t, o)
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, r, 40<<20); err != nil {
		t.Errorf("read %d bytes: %v", n, err)
	}
	r.Close()
	e.bodies = nil
	obj := objstore.Bytes([]byte("expected"), "text/plain")
	if err := objstore.Verify(t.Context(), b, "k", obj.Size, obj.SHA256); !errors.Is(err,
		objstore.ErrDiffers) {
		t.Errorf("Verify = %v, want ErrDiffers", err)
	}
	for _, body := range e.bodies {
		if body.read > 64<<10 {
			t.Errorf("%d bytes were read to compare %d", body.read, obj.Size)
		}
	}
}

// Lists that must not be believed: an object that is not in one would be taken for deleted, one
// that is in it be deleted.
func TestListsThatAreNotBelieved(t *testing.T) {
	const (
		content = `<Contents><Key>room/a</Key><Size>1</Size></Contents>`
		version = `<Version><Key>room/a</Key><VersionId>1</VersionId></Version>`
		token   = `<NextContinuationToken>t</NextContinuationToken><NextKeyMarker>t</NextKeyMarker>`
	)
	for name, tc := range map[string]struct{ body, cause string }{
		"nothing":      {"", "not that of an S3 store"},
		"a login page": {"<html>Please log in</html>", "not that of an S3 store"},
		"another document": {
			"<Result><Message>ok</Message></Result>",
			"not that of an S3 store",
		},
		"cut off": {"<R><Name>bucket</Name>" + content, ""},
		"more follow, and not where": {"<R><IsTruncated>true</IsTruncated>" + content + version +
			"</R>", "not where"},
		"the same page again": {"<R><IsTruncated>true</IsTruncated>" + token + content +
			version + "</R>", "does not end"},
		"the same page, without a say": {"<R><Name>bucket</Name>" + token + content + version +
			"</R>", "does not end"},
		"another key": {
			"<R><Name>bucket</Name><Contents><Key>other/b</Key></Contents><Version><Key>other/b</Key></Version></R>",
			"does not begin with the prefix",
		},
		"no key": {
			"<R><Name>bucket</Name><Contents><Size>1</Size></Contents><Version></Version></R>",
			"does not begin with the prefix",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, srv := newFakeS3(t)
			f.before = func(w http.ResponseWriter, _ *http.Request) bool {
				fmt.Fprint(w, tc.body)
				return true
			}
			b := open(t, options(srv))
			check := func(op string, err error) {
				t.Helper()
				e, _ := errors.AsType[*objstore.Error](err)
				if e == nil || e.NotFound || e.Permanent || !strings.Contains(e.Cause, tc.cause) ||
					strings.Contains(objstore.Redacted(err, ""), "room/") {
					t.Errorf("%s ends with %v, want a transient error with %q", op, err, tc.cause)
				}
			}
			var last error
			n := 0
			for _, err := range b.List(t.Context(), "room/") {
				last = err
				n++
			}
			check("List", last)
			for _, err := range b.Versions(t.Context(), "room/") {
				last = err
			}
			check("Versions", last)
			if n > 4 {
				t.Errorf("%d entries of an endless list", n)
			}
		})
	}
}

// Pages without an entry, as a store gives them while it passes over what was deleted, do not end a
// list, nor go on for ever.
func TestEmptyPages(t *testing.T) {
	for name, tc := range map[string]struct{ empty, want int }{
		"some":     {20, 1},
		"for ever": {1 << 30, 0},
	} {
		f, srv := newFakeS3(t)
		n := 0
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			if n++; n > tc.empty {
				fmt.Fprint(w,
					"<R><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></R>")
			} else {
				fmt.Fprintf(w,
					"<R><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></R>", n)
			}
			return true
		}
		b := open(t, options(srv))
		found, failed := 0, 0
		for a, err := range b.List(t.Context(), "") {
			switch {
			case err != nil:
				failed++
			case a.Size != objstore.UnknownSize:
				t.Errorf("%s: a size of %d where the store names none", name, a.Size)
			default:
				found++
			}
		}
		if found != tc.want || failed != 1-tc.want || n > 2000 {
			t.Errorf("%s: %d entries, %d errors, %d pages", name, found, failed, n)
		}
	}
}

// What an answer need not have, or something on the way removes, is not known: it is neither zero
// nor a sign of another object, and what is there decides.
func TestWhatAnswersMayLack(t *testing.T) {
	obj := objstore.Bytes([]byte("content"), "text/plain")
	other := objstore.Bytes([]byte("CONTENT"), "text/plain")
	for name, tc := range map[string]struct {
		change    func(h http.Header)
		checksums bool
		reads     int // GET requests
	}{
		"no length, checksum": {func(h http.Header) { h.Del("Content-Length") }, true, 0},
		"no length":           {func(h http.Header) { h.Del("Content-Length") }, false, 1},
		"a length of 0": {
			func(h http.Header) { h.Set("Content-Length", "0") }, true,
			1,
		},
		"no length, no checksum": {func(h http.Header) {
			h.Del("Content-Length")
			h.Del("X-Amz-Checksum-Sha256")
		}, true, 1},
		"a checksum of parts": {func(h http.Header) {
			h.Set("X-Amz-Checksum-Sha256",
				strings.Repeat("A", 43)+"=")
		}, true, 1},
		"no ETag, but a number": {func(h http.Header) {
			h.Del("ETag")
			h.Set("X-Amz-Request-Id", "1")
		}, true, 0},
		"no ETag, but a number of G": {func(h http.Header) {
			h.Del("ETag")
			h.Set("X-Guploader-Uploadid", "1")
		}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, srv := newFakeS3(t)
			o := options(srv)
			o.Checksums = tc.checksums
			o.Transport = changing{func(r *http.Request, h http.Header) {
				if r.Method != "GET" {
					tc.change(h)
				}
			}}
			b := open(t, o)
			if err := b.Upload(t.Context(), "k", obj); err != nil {
				t.Fatal(err)
			}
			if err := objstore.Verify(t.Context(), b, "k", obj.Size, obj.SHA256); err != nil {
				t.Errorf("Verify = %v", err)
			}
			if n := len(f.seen(func(r *http.Request) bool {
				return r.Method == "GET"
			})); n != tc.reads {
				t.Errorf("read back %d times, want %d", n, tc.reads)
			}
			if err := objstore.Verify(t.Context(), b, "k", other.Size,
				other.SHA256); !errors.Is(err, objstore.ErrDiffers) {
				t.Errorf("Verify of other content = %v, want ErrDiffers", err)
			}
		})
	}
}

// changing is a way to a store on which the headers of the answers are changed.
type changing struct {
	change func(r *http.Request, answer http.Header)
}

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		c.change(r, resp.Header)
	}
	return resp, err
}
