package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/spool"
)

// errTaken is returned if a key of this revision holds other bytes, which this delivery may not
// replace.
var errTaken = errors.New("a key of this revision holds other content")

// upload uploads every object and verifies it in the bucket, the manifest after all others.
func (d *Dispatcher) upload(ctx context.Context, j *job, bucket objstore.Bucket,
	staging *Staging,
) error {
	for i, o := range j.plan.Objects {
		d.report(j)
		if j.verified[o.Key] {
			continue
		}
		if err := d.uploadObject(ctx, j, bucket, o, staging.Path(o.Key)); err != nil {
			return &stepError{fmt.Sprintf("object %d of %d (%s)", i+1, len(j.plan.Objects),
				redact.Key(o.Key)), err}
		}
		j.verified[o.Key] = true
	}
	return nil
}

// report makes the progress of a delivery known to [Dispatcher.Snapshot].
func (d *Dispatcher) report(j *job) {
	done := int64(0)
	for _, o := range j.plan.Objects {
		if j.verified[o.Key] {
			done += o.Size
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	j.done, j.total = done, j.plan.Bytes()
}

func (d *Dispatcher) uploadObject(ctx context.Context, j *job, bucket objstore.Bucket,
	o textegress.Object, path string,
) error {
	key := j.plan.Prefix + o.Key
	err := objstore.Verify(ctx, bucket, key, o.Size, o.SHA256)
	switch {
	case err == nil:
		return nil // uploaded by an earlier attempt
	case objstore.IsNotFound(err):
		j.started[o.Key] = true
	case !errors.Is(err, objstore.ErrDiffers):
		return err
	case !j.started[o.Key]:
		return errTaken
	}
	if err := bucket.Upload(ctx, key,
		objstore.File(path, o.Size, o.SHA256, o.ContentType)); err != nil {
		return err
	}
	if err := objstore.Verify(ctx, bucket, key, o.Size, o.SHA256); err != nil {
		return err
	}
	d.metrics.bytes.Add(float64(o.Size))
	return nil
}

// abortEarlier aborts multipart uploads that an earlier, killed process may have left behind. The
// delivery does not depend on it: if it fails, a lifecycle rule of the bucket must abort them.
func (d *Dispatcher) abortEarlier(ctx context.Context, j *job, bucket objstore.Bucket) {
	b, ok := bucket.(objstore.Unfinished)
	if !ok || !j.resumed {
		return
	}
	j.resumed = false
	n, err := b.AbortUploads(ctx, j.rec.Info().KeyPrefix, func(string) bool { return false })
	if n > 0 {
		d.logger(j).Info("removed unfinished uploads of an earlier process", "uploads", n)
	}
	if err != nil && ctx.Err() == nil {
		d.logger(j).Info("cannot look for unfinished uploads of an earlier process",
			"error", errorText(err))
	}
}

// holds reports whether the staged files match the plan, except for objects that are already
// verified in the bucket. It reads the files completely, because a file that was not synced may
// hold anything after a power failure.
func (p *progress) holds(ctx context.Context, s *Staging) bool {
	for _, o := range p.plan.Objects {
		if p.verified[o.Key] {
			continue
		}
		if ctx.Err() != nil || !hasContent(s.Path(o.Key), o) {
			return false
		}
	}
	return true
}

func hasContent(path string, o textegress.Object) bool {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // reading only
	h := sha256.New()
	n, err := io.Copy(h, f)
	return err == nil && n == o.Size && hex.EncodeToString(h.Sum(nil)) == o.SHA256
}

// Uploaded is the content of uploaded.json: what was verified in the bucket.
type Uploaded struct {
	FormatVersion  int    `json:"format_version"`
	Revision       int    `json:"revision"`
	Bucket         string `json:"bucket"` // objstore.Bucket.String
	Prefix         string `json:"prefix"` // of the keys, with a trailing slash
	Objects        int    `json:"objects"`
	Bytes          int64  `json:"bytes"`
	UploadedUnixNS int64  `json:"uploaded_unix_ns"` // when the last object was verified
}

// LoadUploaded returns what uploaded.json states, false if the recording is not delivered yet.
func LoadUploaded(r *spool.Recording) (Uploaded, bool, error) {
	data, ok, err := r.Uploaded()
	if err != nil || !ok {
		return Uploaded{}, false, err
	}
	up, err := parseUploaded(data)
	return up, err == nil, err
}

// parseUploaded reads uploaded.json.
func parseUploaded(data []byte) (Uploaded, error) {
	var up Uploaded
	if err := textegress.DecodeJSON(data, &up); err != nil {
		return Uploaded{}, fmt.Errorf("read uploaded.json: %w", err)
	}
	if up.UploadedUnixNS <= 0 {
		return Uploaded{}, errors.New("uploaded.json states no upload time")
	}
	return up, nil
}

// finish writes uploaded.json after all objects were verified.
func (d *Dispatcher) finish(j *job, bucket objstore.Bucket) error {
	// an earlier attempt may have failed after it created the file
	data, ok, err := j.rec.Uploaded()
	if err != nil {
		return err
	}
	if !ok {
		data, err = json.MarshalIndent(Uploaded{
			FormatVersion: 1, Revision: j.plan.Revision, Bucket: bucket.String(),
			Prefix:  j.plan.Prefix,
			Objects: len(j.plan.Objects), Bytes: j.plan.Bytes(),
			UploadedUnixNS: time.Now().UnixNano(),
		}, "", "  ")
		if err != nil {
			return fmt.Errorf("encode uploaded.json: %w", err)
		}
		data = append(data, '\n')
	}
	if err := j.rec.WriteUploaded(data); err != nil {
		return err
	}
	d.metrics.uploads.WithLabelValues(resultOK).Inc()
	d.o.Delivered()
	d.mu.Lock()
	failures := j.failures
	d.mu.Unlock()
	d.logger(j).Info("recording delivered", "objects", len(j.plan.Objects), "bytes",
		j.plan.Bytes(),
		"revision", j.plan.Revision, "recovered_after_errors", failures)
	os.RemoveAll(j.rec.StagingDir()) //nolint:errcheck // derived data; RemoveData retries
	return nil
}
