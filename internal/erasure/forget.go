// Package erasure removes one participant from recordings, on the disk and where they were
// delivered.
//
// Of a recording that holds something of the participant, its segments are written anew without
// that, and take the place of the old ones at one stroke; what is derived from them is delivered as
// a new revision; when all of it is verified in the bucket, every other revision is deleted there,
// with its versions. After a crash at any moment, or an error, doing it again finishes what was
// begun; a running service does so by itself.
//
// Texts of errors and problems name no participant.
package erasure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Dispatcher delivers recordings.
type Dispatcher interface {
	// WithLock calls f while nothing else is done with the recording's delivery.
	WithLock(ctx context.Context, egressID string, f func() error) error
	// Deliver returns nil when the recording is delivered and verified.
	Deliver(ctx context.Context, rec *spool.Recording) error
}

// Options of [New].
type Options struct {
	Spool      *spool.Spool
	BucketFor  func(projectID string) (objstore.Bucket, error)
	Dispatcher Dispatcher
	// KeysFor returns the keys with which a project's recordings are decrypted at their export;
	// nil: there are none. Which lines a participant has depends on them.
	KeysFor func(projectID string) *render.Keys
	// PseudonymsFor is that of the dispatcher. ForgetPseudonym removes the identity from the list of
	// pseudonyms, of one project or, where that is empty, of all. Both may be nil.
	PseudonymsFor   func(info spool.Info) (redact.Pseudonyms, error)
	ForgetPseudonym func(projectID, identity string) error
	// KeepFree is how many bytes of the file system of temporary files are left free.
	KeepFree int64
	Logger   *slog.Logger
}

// Forgetter removes participants from the recordings of a spool. Create it with [New].
type Forgetter struct {
	o    Options
	busy chan struct{} // one request at a time
}

// New returns a forgetter.
func New(o Options) *Forgetter {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Forgetter{o: o, busy: make(chan struct{}, 1)}
}

// Request says who is to be removed, and from what. Without Project, Session and Recording it is
// every recording.
type Request struct {
	Identity  string `json:"identity"`
	Project   string `json:"project,omitempty"`
	Session   string `json:"session,omitempty"`
	Recording string `json:"recording,omitempty"` // egress id
	DryRun    bool   `json:"dry_run,omitempty"`   // only look
}

// Outcome is what became of one recording.
type Outcome string

// The outcomes.
const (
	Nothing   Outcome = "nothing"   // there was nothing of the participant
	Found     Outcome = "found"     // there is something; it was only looked for
	Forgotten Outcome = "forgotten" // it is gone, from the disk and from the bucket
	Unchecked Outcome = "unchecked" // nothing was done: see the problems
	// Incomplete: it is gone from what is delivered now, but not everything could be deleted; see
	// the problems.
	Incomplete Outcome = "incomplete"
)

// Recording says what was done to one recording.
type Recording struct {
	EgressID  string  `json:"egress_id"`
	SessionID string  `json:"session_id"`
	RoomName  string  `json:"room_name"`
	Outcome   Outcome `json:"outcome"`
	// Frames and Lines (of events.jsonl) are what was found of the participant, or removed.
	Frames int64 `json:"frames"`
	Lines  int64 `json:"lines"`
	// Revision is the one that was delivered without the participant, 0: none.
	Revision int `json:"revision,omitempty"`
	// Deleted counts objects and versions of older revisions.
	Deleted  int      `json:"deleted"`
	Problems []string `json:"problems,omitempty"`

	project string
}

// Answer says what was done.
type Answer struct {
	DryRun     bool        `json:"dry_run"`
	Recordings []Recording `json:"recordings"`
	Problems   []string    `json:"problems,omitempty"` // that belong to no recording
}

// Complete reports whether nothing is left of the participant, as far as was asked.
func (a Answer) Complete() bool {
	for _, r := range a.Recordings {
		if r.Outcome == Unchecked || r.Outcome == Incomplete || len(r.Problems) > 0 {
			return false
		}
	}
	return len(a.Problems) == 0
}

// Forget removes a participant. Trouble with one recording is told in the answer and stops none of
// the others; an error is one of the request or of ctx.
func (f *Forgetter) Forget(ctx context.Context, q Request) (Answer, error) {
	if q.Identity == "" {
		return Answer{}, errors.New("name the participant's identity")
	}
	select {
	case f.busy <- struct{}{}:
		defer func() { <-f.busy }()
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	a := Answer{DryRun: q.DryRun, Recordings: []Recording{}}
	for _, rec := range f.o.Spool.Recordings() {
		if i := rec.Info(); !matches(q.Project, i.ProjectID) || !matches(q.Session, i.SessionID) ||
			!matches(q.Recording, i.EgressID) {
			continue
		}
		a.Recordings = append(a.Recordings, f.one(ctx, rec, q))
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
	}
	if len(a.Recordings) == 0 && (q.Recording != "" || q.Session != "") {
		return a, errors.New("there is no such recording in the data directory; one that is only " +
			"in the bucket is named with --from")
	}
	for _, p := range f.o.Spool.Problems() {
		a.Problems = append(a.Problems, "not searched: "+p.Path+", which is no usable recording")
	}
	// While something is left of them, the list is what leads to it.
	if f.o.ForgetPseudonym != nil && !q.DryRun && q.Session == "" && q.Recording == "" &&
		a.Complete() {
		if err := f.o.ForgetPseudonym(q.Project, q.Identity); err != nil {
			a.Problems = append(a.Problems, "remove the participant from the list of pseudonyms: "+
				err.Error())
		}
	}
	return a, nil
}

func matches(want, is string) bool { return want == "" || want == is }

// one works on one recording.
func (f *Forgetter) one(ctx context.Context, rec *spool.Recording, q Request) Recording {
	i := rec.Info()
	r := Recording{
		EgressID: i.EgressID, SessionID: i.SessionID, RoomName: i.RoomName,
		Outcome: Unchecked,
	}
	problem := func(what string, err error) Recording {
		r.Problems = append(r.Problems, what+": "+objstore.Redacted(err, plain(err)))
		return r
	}
	if rec.State() == spool.StateOpen {
		r.Problems = append(r.Problems, "it is being recorded, or will be continued; do it again "+
			"when the session has ended")
		return r
	}
	begun, err := rec.PurgePending()
	if err != nil {
		return problem("read its state", err)
	}
	err = f.o.Dispatcher.WithLock(ctx, rec.ID(), func() error {
		replaced, err := f.replace(ctx, rec, q, &r)
		if replaced != nil {
			rec = replaced
		}
		return err
	})
	if err != nil {
		return problem("remove the participant", err)
	}
	if q.DryRun {
		r.Outcome = Found
		if r.Frames == 0 {
			r.Outcome = Nothing
		}
		if begun {
			r.Problems = append(r.Problems, "an earlier removal is not finished: not everything "+
				"of it is deleted yet")
		}
		return r
	}
	if r.Frames == 0 && !begun {
		r.Outcome = Nothing
		return r
	}
	r.Outcome = Incomplete
	if err := f.settle(ctx, rec, &r); err != nil {
		return problem("delete what was delivered", err)
	}
	return r
}

// plain is the text of an error that is not a store's. Those of the file system name our own files
// only.
func plain(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// replace looks for the participant, and puts a recording without them in the place of the one
// with. It returns nil where there was nothing to replace, and for a dry run.
func (f *Forgetter) replace(ctx context.Context, rec *spool.Recording, q Request,
	r *Recording,
) (*spool.Recording, error) {
	revision, err := nextRevision(rec)
	if err != nil {
		return nil, err
	}
	src, err := f.source(ctx, rec)
	if errors.Is(err, render.ErrPseudonyms) {
		return nil, f.veiled(ctx, rec, q.Identity)
	}
	if err != nil {
		return nil, err
	}
	var keys *render.Keys
	if f.o.KeysFor != nil {
		keys = f.o.KeysFor(rec.Info().ProjectID)
	}
	where, err := deliveredTo(rec)
	if err != nil {
		return nil, err
	}
	o := decode.Options{Keys: keys, Scratch: render.NewDiscardSink(f.o.KeepFree).Scratch}
	return replace(ctx, f.o.Spool, src, o, delivery.Rewrite{Revision: revision, Bucket: where}, q,
		r,
		nil)
}

func replace(
	ctx context.Context, sp *spool.Spool, src render.Source, o decode.Options,
	next delivery.Rewrite,
	q Request, r *Recording,
	check func(*erasePlan) error, // may refuse the plan; nil: it does not
) (*spool.Recording, error) {
	plan, err := newErasePlan(ctx, src, o, q.Identity)
	if err != nil {
		return nil, err
	}
	if plan.frames > 0 && check != nil {
		if err := check(plan); err != nil {
			return nil, err
		}
	}
	r.Frames, r.Lines = plan.frames, plan.lines
	if q.DryRun || plan.frames == 0 {
		return nil, nil //nolint:nilnil // nothing was replaced
	}
	note, err := next.Note()
	if err != nil {
		return nil, err
	}
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, err
	}
	sealed, ok := src.Sealed()
	if !ok {
		return nil, errors.New("the recording is not sealed")
	}
	return sp.Rewrite(src.Info(), sealed, segments, note,
		func(f *segment.Frame) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return plan.edit(f)
		})
}

// deliveredTo returns the bucket that holds older revisions, "" if none does.
func deliveredTo(rec *spool.Recording) (string, error) {
	unsettled, err := rec.PurgePending()
	if err != nil {
		return "", err
	}
	if unsettled { // then what is older than the one before is still to be deleted, too
		r, _, err := delivery.LoadRewrite(rec)
		if err != nil || r.Bucket != "" {
			return r.Bucket, err
		}
	}
	b, ok, err := rec.Uploaded()
	if err != nil || !ok {
		return "", err
	}
	var up struct {
		Bucket string `json:"bucket"`
	}
	if err := textegress.DecodeJSON(b, &up); err != nil {
		return "", fmt.Errorf("read uploaded.json: %w", err)
	}
	return up.Bucket, nil
}

// nextRevision returns the number of a revision under whose prefix nothing was delivered.
func nextRevision(rec *spool.Recording) (int, error) {
	frozen, ok, err := delivery.LoadPlan(rec)
	damaged, isDamaged := errors.AsType[*delivery.DamagedPlanError](err)
	switch {
	case isDamaged:
		return damaged.Revision + 1, nil
	case err != nil:
		return 0, err
	case ok:
		return frozen.Revision + 1, nil
	}
	return delivery.FirstRevision(rec)
}

// source returns the recording from the disk, or from the bucket where the disk does not have it
// any more as it was delivered.
func (f *Forgetter) source(ctx context.Context, rec *spool.Recording) (render.Source, error) {
	disk, err := onDisk(ctx, rec)
	if err != nil {
		return nil, err
	}
	if disk == whole {
		return render.FromSpool(rec), nil
	}
	src, err := f.fromBucket(ctx, rec)
	if disk == damaged && errors.Is(err, render.ErrPseudonyms) {
		return render.FromSpool(rec), nil // there is nothing better
	}
	return src, err
}

func (f *Forgetter) fromBucket(ctx context.Context, rec *spool.Recording) (render.Source, error) {
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return nil, errors.Join(errors.New("its local data is removed, and where it was "+
			"delivered is not known"), err)
	}
	bucket, err := f.o.BucketFor(rec.Info().ProjectID)
	if err != nil {
		return nil, err
	}
	src, err := delivered(ctx, bind(objfs.New(ctx, bucket, frozen.Prefix), frozen.Objects))
	if err != nil {
		return nil, err
	}
	return local{src, rec}, nil
}

// local is a recording of which the segments are in the bucket, and all else is on the disk: what
// it is, where it lies and how it ended is not the bucket's to say.
type local struct {
	render.Source

	rec *spool.Recording
}

func (l local) Info() spool.Info             { return l.rec.Info() }
func (l local) Sealed() (spool.Sealed, bool) { return l.rec.Sealed() }

func (l local) StateFile(name string) ([]byte, error) { return l.rec.StateFile(name) }

// errVeiled says that nothing can be done to one participant's part of a delivered recording.
var errVeiled = errors.New("it was delivered under pseudonyms, without raw segments, and the " +
	"recorder does not have those any more: one participant " +
	"cannot be removed from it; delete it in the bucket as a whole, or what bears the pseudonym, " +
	"which `textegress pseudonyms` tells")

// veiled looks for the participant's pseudonym in what was delivered of a recording that the disk
// does not have any more.
func (f *Forgetter) veiled(ctx context.Context, rec *spool.Recording, identity string) error {
	if f.o.PseudonymsFor == nil {
		return errVeiled
	}
	names, err := f.o.PseudonymsFor(rec.Info())
	if err != nil {
		return errors.Join(errVeiled, err)
	}
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return errors.Join(errVeiled, err)
	}
	bucket, err := f.o.BucketFor(rec.Info().ProjectID)
	if err != nil {
		return err
	}
	recording, err := textegress.Open(bind(objfs.New(ctx, bucket, frozen.Prefix), frozen.Objects))
	if err != nil {
		return err
	}
	name := names.Of(identity)
	for _, c := range recording.Manifest().Completeness.Connections {
		if c.Identity == name {
			return errVeiled
		}
	}
	for m, err := range recording.Messages() {
		if err != nil {
			return err
		}
		if m.Identity == name || m.Transcription != nil &&
			m.Transcription.ParticipantIdentity == name {
			return errVeiled
		}
	}
	return nil // there is nothing of them
}

// delivered opens a delivered recording after it was compared with its manifest: what is damaged
// there must not take the place of what was delivered.
func delivered(ctx context.Context, fsys fs.FS) (render.Source, error) {
	rec, err := textegress.Open(fsys)
	if err != nil {
		return nil, err
	}
	if err := rec.Verify(ctx, nil); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errors.New("what lies there is not what was delivered, see `textegress " +
			"verify`; nothing was changed")
	}
	src, err := render.FromDelivered(fsys)
	if err != nil && !errors.Is(err, render.ErrPseudonyms) {
		return nil, fmt.Errorf("%w; nothing was changed", err)
	}
	return src, err
}

// settle delivers a replaced recording and deletes what was delivered of it before.
func (f *Forgetter) settle(ctx context.Context, rec *spool.Recording, r *Recording) error {
	if s := rec.State(); s == spool.StateSealed || s == spool.StateExported {
		if err := f.o.Dispatcher.Deliver(ctx, rec); err != nil {
			return fmt.Errorf("the disk is clean, the bucket is not yet: %w", err)
		}
	}
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return errors.Join(errors.New("what was delivered is not known"), err)
	}
	r.Revision = frozen.Revision
	bucket, err := f.o.BucketFor(rec.Info().ProjectID)
	if err != nil {
		return err
	}
	if was, ok, err := delivery.LoadRewrite(rec); err != nil {
		return err
	} else if ok && was.Bucket != "" && was.Bucket != bucket.String() {
		// Deleting needs the access to that bucket, which is not configured any more.
		return fmt.Errorf("it had been delivered to %s, which is not the project's bucket now: "+
			"what is there is not deleted; "+
			"use --from with the settings of that bucket, or delete it there", was.Bucket)
	}
	complete, err := purge(ctx, bucket, rec.Info(), frozen, r)
	if err != nil || !complete {
		return err
	}
	if err := rec.MarkPurged(); err != nil {
		return err
	}
	r.Outcome = Forgotten
	f.o.Logger.Info("a participant was removed from a recording", "egress_id", rec.ID(),
		"session_id", rec.Info().SessionID,
		"frames", r.Frames, "revision", r.Revision, "deleted", r.Deleted)
	return nil
}

// purge deletes every revision but the frozen one, once that is verified again.
func purge(ctx context.Context, bucket objstore.Bucket, info spool.Info, frozen delivery.Plan,
	r *Recording,
) (complete bool, err error) {
	if frozen.Revision == 1 {
		return true, nil // nothing was delivered before
	}
	// Everything below this prefix is deleted: it must be this recording's own.
	if !strings.HasSuffix(info.KeyPrefix, "/"+info.EgressID+"/") ||
		!strings.HasPrefix(frozen.Prefix, info.KeyPrefix) || frozen.Prefix == info.KeyPrefix {
		return false, errors.New("the prefix of the recording is not its own; nothing was deleted")
	}
	for _, o := range frozen.Objects {
		if err := objstore.Verify(ctx, bucket, frozen.Prefix+o.Key, o.Size, o.SHA256); err != nil {
			return false, fmt.Errorf("the new revision could not be verified, so the old "+
				"one stays: %s", objstore.Redacted(err, plain(err)))
		}
	}
	keep := func(key string) bool { return strings.HasPrefix(key, frozen.Prefix) }
	if m, ok := bucket.(*moved); ok && !m.own.alone {
		// What the manifests name is known from them alone, so they are the last to go.
		but := func(key string) bool {
			return keep(key) ||
				isManifest(strings.TrimPrefix(key, info.KeyPrefix))
		}
		if done, err := r.purge(ctx, bucket, info.KeyPrefix, but); err != nil || !done {
			return false, err
		}
	}
	return r.purge(ctx, bucket, info.KeyPrefix, keep)
}

// purge deletes what lies below a prefix, and adds to the recording's figures and problems.
func (r *Recording) purge(ctx context.Context, bucket objstore.Bucket, prefix string,
	keep func(key string) bool,
) (complete bool, err error) {
	p, err := objstore.Purge(ctx, bucket, prefix, prefix+textegress.ManifestName, keep)
	r.Deleted += p.Deleted
	if p.Versions != "" {
		r.Problems = append(r.Problems, "earlier versions could not be looked for: "+p.Versions)
	}
	if p.Uploads != "" {
		r.Problems = append(r.Problems, "parts of interrupted uploads could not be looked for "+
			"or removed: "+p.Uploads)
	}
	var why []string
	for text, n := range p.Failed {
		why = append(why, fmt.Sprintf("%d objects or versions could not be deleted: %s", n, text))
	}
	slices.Sort(why)
	r.Problems = append(r.Problems, why...)
	return err == nil && p.Complete(), err
}

// Settle finishes removals that were begun and not finished, by an earlier process or because the
// bucket refused. What is not possible now is tried again at the next call.
func (f *Forgetter) Settle(ctx context.Context) {
	select {
	case f.busy <- struct{}{}:
		defer func() { <-f.busy }()
	default:
		return // somebody is at it
	}
	for _, rec := range f.o.Spool.Recordings() {
		if ctx.Err() != nil {
			return
		}
		if s := rec.State(); s != spool.StateUploaded && s != spool.StateRemoved {
			continue // the dispatcher delivers it
		}
		if begun, err := rec.PurgePending(); err != nil || !begun {
			continue
		}
		var r Recording
		err := f.settle(ctx, rec, &r)
		if err != nil || len(r.Problems) > 0 {
			f.o.Logger.Warn("not everything that was to be forgotten could be deleted yet",
				"egress_id", rec.ID(), "error", plain(err), "problems", r.Problems)
		}
	}
}
