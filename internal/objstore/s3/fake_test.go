package s3_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeS3 is as much of an S3 server as the tests need. It checks signatures and the hash of each
// body; the run against a real server is in the development stack's module.
type fakeS3 struct {
	// before may answer a request itself (true) instead of the server.
	before func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	objects  map[string]fakeObject
	uploads  map[string]map[int][]byte
	to       map[string]string // key of an upload
	requests []*http.Request
}

type fakeObject struct {
	data                  []byte
	contentType, checksum string
}

func newFakeS3(t *testing.T) (*fakeS3, *httptest.Server) {
	f := &fakeS3{
		objects: map[string]fakeObject{}, uploads: map[string]map[int][]byte{},
		to: map[string]string{},
	}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, srv
}

func answer(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code,
		message)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Clone(r.Context()))
	f.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	if err := signatureError(r); err != nil {
		answer(w, 403, "SignatureDoesNotMatch", err.Error())
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket != "bucket" {
		answer(w, 404, "NoSuchBucket", "The specified bucket does not exist")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	sum := sha256.Sum256(body)
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != hex.EncodeToString(sum[:]) {
		answer(w, 400, "XAmzContentSHA256Mismatch",
			"The provided 'x-amz-content-sha256' header does not match what was computed.")
		return
	}
	checksum := r.Header.Get("X-Amz-Checksum-Sha256")
	if checksum != "" && checksum != base64.StdEncoding.EncodeToString(sum[:]) {
		answer(w, 400, "BadDigest",
			"The SHA256 you specified did not match the calculated checksum.")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	switch {
	case r.Method == "POST" && q.Has("uploads"):
		id := fmt.Sprintf("upload-%d", len(f.to)+1)
		f.uploads[id], f.to[id] = map[int][]byte{}, key
		fmt.Fprintf(w,
			`<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, id)
	case r.Method == "PUT" && q.Has("uploadId") && f.uploads[q.Get("uploadId")] == nil:
		answer(w, 404, "NoSuchUpload", "The specified upload does not exist.")
	case r.Method == "PUT" && q.Has("uploadId"):
		n, _ := strconv.Atoi(q.Get("partNumber"))
		f.uploads[q.Get("uploadId")][n] = body
		w.Header().Set("ETag", fmt.Sprintf(`"part-%d"`, n))
	case r.Method == "POST" && q.Has("uploadId"):
		var in struct {
			Part []struct{ PartNumber int }
		}
		if err := xml.Unmarshal(body, &in); err != nil {
			answer(w, 400, "MalformedXML", err.Error())
			return
		}
		parts := f.uploads[q.Get("uploadId")]
		var data []byte
		for _, p := range in.Part {
			data = append(data, parts[p.PartNumber]...)
		}
		delete(f.uploads, q.Get("uploadId"))
		f.objects[key] = fakeObject{
			data:     data,
			checksum: fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sum[:]), len(in.Part)),
		}
		fmt.Fprint(w,
			`<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>`)
	case r.Method == "DELETE" && q.Has("uploadId"):
		delete(f.uploads, q.Get("uploadId"))
		w.WriteHeader(204)
	case r.Method == "PUT":
		f.objects[key] = fakeObject{body, r.Header.Get("Content-Type"), checksum}
		w.Header().Set("ETag", `"x"`)
	case r.Method == "GET" && q.Has("uploads"):
		f.listUploads(w, q.Get("prefix"), q.Get("upload-id-marker"))
	case r.Method == "GET" && key == "":
		f.list(w, q.Get("prefix"), q.Get("continuation-token"))
	case r.Method == "GET" || r.Method == "HEAD":
		o, ok := f.objects[key]
		if !ok {
			answer(w, 404, "NoSuchKey", "The specified key does not exist.")
			return
		}
		w.Header().Set("Content-Type", o.contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		w.Header().Set("ETag", `"x"`)
		if r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && o.checksum != "" {
			w.Header().Set("X-Amz-Checksum-Sha256", o.checksum)
		}
		if r.Method == "GET" {
			w.Write(o.data)
		}
	case r.Method == "DELETE":
		delete(f.objects, key)
		w.WriteHeader(204)
	}
}

// list answers in pages of two.
func (f *fakeS3) list(w http.ResponseWriter, prefix, after string) {
	type content struct {
		Key  string
		Size int
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []content
		IsTruncated           bool
		NextContinuationToken string
	}
	for _, k := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		if len(out.Contents) == 2 {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[1].Key
			break
		}
		out.Contents = append(out.Contents, content{k, len(f.objects[k].data)})
	}
	xml.NewEncoder(w).Encode(out)
}

// listUploads answers in pages of one.
func (f *fakeS3) listUploads(w http.ResponseWriter, prefix, after string) {
	type upload struct{ Key, UploadId string }
	var out struct {
		XMLName                           xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket                            string
		Upload                            []upload
		IsTruncated                       bool
		NextKeyMarker, NextUploadIdMarker string
	}
	out.Bucket = "bucket"
	for _, id := range slices.Sorted(maps.Keys(f.uploads)) {
		if !strings.HasPrefix(f.to[id], prefix) || id <= after {
			continue
		}
		if len(out.Upload) == 1 {
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker = true, out.Upload[0].Key,
				out.Upload[0].UploadId
			break
		}
		out.Upload = append(out.Upload, upload{f.to[id], id})
	}
	xml.NewEncoder(w).Encode(out)
}

func (f *fakeS3) seen(match func(*http.Request) bool) []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*http.Request
	for _, r := range f.requests {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}
