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
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
)

// delivery is what this process knows about the delivery of one recording. All of it can be lost:
// the disk and the bucket hold what counts.
type delivery struct {
	frozen Plan   // zero: not loaded
	bucket string // the one that the rest speaks of
	// verified are the keys whose objects were right.
	verified map[string]bool
	// own are keys under which this process found nothing and then began to upload. If they hold
	// other bytes, those are the remains of that attempt and nobody else's.
	own map[string]bool
	// resumed: an earlier process had begun, and may have left parts of uploads.
	resumed bool
}

// uploaded is uploaded.json.
type uploaded struct {
	FormatVersion  int    `json:"format_version"`
	Revision       int    `json:"revision"`
	Bucket         string `json:"bucket"`
	Prefix         string `json:"prefix"`
	Objects        int    `json:"objects"`
	Bytes          int64  `json:"bytes"`
	UploadedUnixNS int64  `json:"uploaded_unix_ns"` // when the last object was verified
}

// parseUploaded reads uploaded.json.
func parseUploaded(data []byte) (uploaded, error) {
	var up uploaded
	if err := textegress.DecodeJSON(data, &up); err != nil {
		return uploaded{}, fmt.Errorf("read uploaded.json: %w", err)
	}
	if up.UploadedUnixNS <= 0 {
		return uploaded{}, errors.New("uploaded.json does not say when it was delivered")
	}
	return up, nil
}

// errAllTaken says that no further revision is made.
var errAllTaken = errors.New("its keys, and those of the revisions before it, hold other bytes " +
	"than this recording's; no further revision is made. " +
	"Does something else write below this recording's prefix, or can the place not tell names " +
	"apart? Move away what is there: the delivery goes on by itself")

// errTaken says that a key of this revision holds other bytes, which are not ours to overwrite.
var errTaken = errors.New("a key of this revision holds other bytes")

// maxRevisions is how many revisions after the first one a delivery makes because keys were taken.
// When those of the last one are taken, too, something is wrong that more revisions do not mend,
// and each leaves objects in the bucket for ever.
const maxRevisions = 3

// deliverSafely keeps a panic in one delivery from ending the service, and with it the recordings
// that are going on.
func (u *Dispatcher) deliverSafely(ctx context.Context, j *job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value may hold data of participants; its type and the place do not.
			what := fmt.Sprintf("%T", r)
			if re, ok := r.(runtime.Error); ok {
				what = re.Error()
			}
			u.logger(j).Error("panic while delivering a recording", "panic", what, "stack",
				string(debug.Stack()))
			err = waitsForPerson{fmt.Errorf("panic: %s", what)}
		}
	}()
	return u.deliver(ctx, j)
}

// deliver does what is left to do for one recording.
func (u *Dispatcher) deliver(ctx context.Context, j *job) error {
	bucket, err := u.o.Projects.Bucket(j.rec.Info().ProjectID)
	if err != nil {
		return bucketDown{waitsForPerson{err}}
	}
	j.at(bucket)
	if err := u.probe(ctx, j, bucket); err != nil {
		return err
	}
	for {
		staging, err := u.prepare(ctx, j)
		if err != nil {
			return err
		}
		u.abortEarlier(ctx, j, bucket)
		err = u.upload(ctx, j, bucket, staging)
		staging.Close() //nolint:errcheck // nothing is written through it any more
		if err == nil {
			return u.finish(j, bucket)
		}
		if !errors.Is(err, errTaken) {
			return err
		}
		first, ferr := FirstRevision(j.rec)
		if ferr != nil {
			return waitsForPerson{ferr}
		}
		if j.frozen.Revision-first >= maxRevisions {
			return waitsForPerson{&step{"revision " + strconv.Itoa(j.frozen.Revision), errAllTaken}}
		}
		u.logger(j).Warn("a key holds other bytes than this delivery's: beginning the "+
			"next revision", "revision", j.frozen.Revision)
		if err := u.nextRevision(ctx, j); err != nil {
			return err
		}
	}
}

// abortEarlier removes what an earlier process, which was killed, may have left of uploads in
// parts. Where that is not possible, a rule of the bucket must do it: the delivery does not depend
// on it.
func (u *Dispatcher) abortEarlier(ctx context.Context, j *job, bucket objstore.Bucket) {
	b, ok := bucket.(objstore.Unfinished)
	if !ok || !j.resumed {
		return
	}
	j.resumed = false
	n, err := b.AbortUploads(ctx, j.rec.Info().KeyPrefix, func(string) bool { return false })
	if n > 0 {
		u.logger(j).Info("parts of uploads were removed that an earlier process had begun",
			"uploads", n)
	}
	if err != nil && ctx.Err() == nil {
		u.logger(j).Info("parts of uploads that an earlier process may have begun could not "+
			"be looked for", "error", errorText(err))
	}
}

// probe asks the bucket for something before anything is derived, so that an outage of a bucket
// costs neither disk nor CPU for all the recordings that wait for it.
func (u *Dispatcher) probe(ctx context.Context, j *job, bucket objstore.Bucket) error {
	_, err := bucket.Stat(ctx, j.rec.Info().KeyPrefix+textegress.ManifestName)
	if err != nil && !objstore.IsNotFound(err) {
		return bucketDown{&step{"ask the bucket", err}}
	}
	return nil
}

// prepare returns a staging directory that holds exactly what is frozen, and freezes it if nothing
// is.
func (u *Dispatcher) prepare(ctx context.Context, j *job) (*Staging, error) {
	if j.frozen.Revision == 0 {
		frozen, ok, err := LoadPlan(j.rec)
		if damaged, is := errors.AsType[*DamagedPlanError](err); is {
			u.logger(j).Error("what was frozen cannot be read any more: beginning the "+
				"next revision", "error", damaged)
			return u.freeze(ctx, j, damaged.Revision+1)
		}
		if err != nil {
			return nil, err
		}
		if !ok {
			revision, err := FirstRevision(j.rec)
			if err != nil {
				return nil, waitsForPerson{err}
			}
			return u.freeze(ctx, j, revision)
		}
		j.begin(frozen)
		j.resumed = true
	}
	if s, err := OpenStaging(j.rec.StagingDir()); err == nil {
		if u.holds(ctx, s, j) {
			return s, nil
		}
		s.Close() //nolint:errcheck // it is going to be made anew
	}
	s, frozen, err := u.stage(ctx, j, j.frozen.Revision)
	if err != nil {
		return nil, err
	}
	if frozen.Equal(j.frozen) {
		return s, nil
	}
	s.Close() //nolint:errcheck // likewise
	u.logger(j).Warn("the frozen objects cannot be derived again: beginning the next revision",
		"revision", j.frozen.Revision, "exporter_then", j.frozen.Exporter, "exporter_now",
		u.o.Exporter)
	return u.freeze(ctx, j, j.frozen.Revision+1)
}

func (d *delivery) begin(f Plan) {
	d.frozen, d.verified, d.own = f, map[string]bool{}, map[string]bool{}
}

// at says where this attempt delivers. If it is another place than before, because the settings
// were changed, nothing of what is known about the old one holds.
func (d *delivery) at(b objstore.Bucket) {
	if name := b.String(); d.bucket != name {
		d.bucket, d.verified, d.own = name, map[string]bool{}, map[string]bool{}
	}
}

func (u *Dispatcher) nextRevision(ctx context.Context, j *job) error {
	s, err := u.freeze(ctx, j, j.frozen.Revision+1)
	if err != nil {
		return err
	}
	return s.Close()
}

// freeze derives a revision and makes durable what it delivers.
func (u *Dispatcher) freeze(ctx context.Context, j *job, revision int) (*Staging, error) {
	s, frozen, err := u.stage(ctx, j, revision)
	if err != nil {
		return nil, err
	}
	if err := frozen.Save(j.rec); err != nil {
		s.Close() //nolint:errcheck // there is an error already
		return nil, err
	}
	j.begin(frozen)
	return s, nil
}

func (u *Dispatcher) stage(ctx context.Context, j *job, revision int) (*Staging, Plan,
	error,
) {
	if err := j.rec.CheckStaging(); err != nil {
		return nil, Plan{}, err
	}
	s, err := NewStaging(j.rec.StagingDir())
	if err != nil {
		return nil, Plan{}, err
	}
	info := j.rec.Info()
	o := render.Options{
		Revision: revision, Exporter: u.o.Exporter, Keys: u.o.Projects.Keys(info.ProjectID),
	}
	if info.Pseudonyms {
		if o.Pseudonyms, err = u.o.Projects.Pseudonyms(info); err != nil {
			s.Close() //nolint:errcheck // nothing was written
			return nil, Plan{}, waitsForPerson{err}
		}
	}
	m, err := render.Build(ctx, render.FromSpool(j.rec), o,
		render.NewSpaceGuard(j.rec.CheckRoom).Sink(s))
	if err == nil {
		var f Plan
		if f, err = NewPlan(j.rec.Info(), m); err == nil {
			return s, f, nil
		}
	}
	s.Close() //nolint:errcheck // there is an error already
	os.RemoveAll(
		j.rec.StagingDir()) //nolint:errcheck // what is half done must not fill a disk that is perhaps full
	return nil, Plan{}, err
}

// holds reports whether the staged files are what is frozen, as far as it is not verified in the
// bucket yet. They are read as a whole: after a power failure, files which nobody synced may hold
// anything.
func (u *Dispatcher) holds(ctx context.Context, s *Staging, j *job) bool {
	for _, o := range j.frozen.Objects {
		if j.verified[o.Key] {
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

// upload brings every object into the bucket and verifies it there, the manifest when all others
// are.
func (u *Dispatcher) upload(ctx context.Context, j *job, bucket objstore.Bucket,
	staging *Staging,
) error {
	for i, o := range j.frozen.Objects {
		if j.verified[o.Key] {
			continue
		}
		if err := u.uploadObject(ctx, j, bucket, o, staging.Path(o.Key)); err != nil {
			return &step{fmt.Sprintf("object %d of %d (%s)", i+1, len(j.frozen.Objects),
				redact.Key(o.Key)), err}
		}
		j.verified[o.Key] = true
	}
	return nil
}

func (u *Dispatcher) uploadObject(ctx context.Context, j *job, bucket objstore.Bucket,
	o textegress.Object, path string,
) error {
	key := j.frozen.Prefix + o.Key
	err := objstore.Verify(ctx, bucket, key, o.Size, o.SHA256)
	switch {
	case err == nil:
		return nil // an earlier attempt had brought it there
	case objstore.IsNotFound(err):
		j.own[o.Key] = true
	case !errors.Is(err, objstore.ErrDiffers):
		return err
	case !j.own[o.Key]:
		return errTaken
	}
	if err := bucket.Upload(ctx, key,
		objstore.File(path, o.Size, o.SHA256, o.ContentType)); err != nil {
		return err
	}
	if err := objstore.Verify(ctx, bucket, key, o.Size, o.SHA256); err != nil {
		return err
	}
	u.metrics.bytes.Add(float64(o.Size))
	return nil
}

// finish makes durable that everything was verified.
func (u *Dispatcher) finish(j *job, bucket objstore.Bucket) error {
	data, ok, err := j.rec.Uploaded() // an earlier try may have failed after the file was there
	if err != nil {
		return err
	}
	if !ok {
		data, err = json.MarshalIndent(uploaded{
			FormatVersion: 1, Revision: j.frozen.Revision, Bucket: bucket.String(),
			Prefix:  j.frozen.Prefix,
			Objects: len(j.frozen.Objects), Bytes: j.frozen.Bytes(),
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
	u.metrics.uploads.WithLabelValues(resultOK).Inc()
	u.mu.Lock()
	failures := j.failures
	u.mu.Unlock()
	u.logger(j).Info("recording delivered", "objects", len(j.frozen.Objects), "bytes",
		j.frozen.Bytes(),
		"revision", j.frozen.Revision, "recovered_after_errors", failures)
	os.RemoveAll(j.rec.StagingDir()) //nolint:errcheck // derived data; RemoveData tries again
	return nil
}

// step is an error with the step that failed. Its text holds no key.
type step struct {
	what string
	err  error
}

func (s *step) Error() string { return s.what + ": " + errorText(s.err) }
func (s *step) Unwrap() error { return s.err }

// errorText returns the text of err without keys. Errors of the spool and of the export do not
// contain any.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	if s, ok := errors.AsType[*step](err); ok {
		return s.Error()
	}
	return objstore.Redacted(err, redact.Text(err.Error()))
}
