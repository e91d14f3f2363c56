// Package erasure removes one participant from recordings, on the disk and in the bucket.
//
// If a recording contains data of the participant, its segments are rewritten without that data and
// atomically replace the old ones. The objects derived from them are delivered as a new revision.
// Once the new revision is verified in the bucket, every other revision is deleted there, with its
// versions. After an error, or a crash at any moment, the same request finishes the erasure. A
// running service resumes it automatically.
//
// The texts of errors and problems name no participant.
package erasure

import (
	"context"
	"errors"
	"log/slog"

	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/spool"
)

// Dispatcher delivers recordings.
type Dispatcher interface {
	// WithLock calls f while no other work on the recording's delivery runs.
	WithLock(ctx context.Context, egressID string, f func() error) error
	// Deliver returns nil when the recording is delivered and verified.
	Deliver(ctx context.Context, rec *spool.Recording) error
}

// Options of [New].
type Options struct {
	Spool      *spool.Spool
	Projects   delivery.Projects // the keys determine which lines a participant has
	Dispatcher Dispatcher
	// ForgetPseudonym removes the identity from the list of pseudonyms of one project or, if
	// projectID is empty, of all projects; nil: there is no list.
	ForgetPseudonym func(projectID, identity string) error
	// KeepFree is the number of bytes to leave free on the file system of temporary files.
	KeepFree int64
	Logger   *slog.Logger
}

// Eraser removes participants from the recordings of a spool. Create it with [New].
type Eraser struct {
	o    Options
	busy chan struct{} // one request at a time
	// shared is set if the place also contains objects that do not belong to the recording. Only
	// the manifests identify the recording's own objects, so the manifests are deleted last.
	shared bool
}

// New returns an eraser.
func New(o Options) *Eraser {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Eraser{o: o, busy: make(chan struct{}, 1)}
}

// Request identifies a participant and the recordings to remove the participant from. If Project,
// Session and Recording are empty, it covers every recording.
type Request struct {
	Identity  string `json:"identity"`
	Project   string `json:"project,omitempty"`
	Session   string `json:"session,omitempty"`
	Recording string `json:"recording,omitempty"` // egress id
	DryRun    bool   `json:"dry_run,omitempty"`   // search without removing
}

// Outcome is the outcome for one recording.
type Outcome string

// The outcomes.
const (
	Nothing Outcome = "nothing"   // the recording contains no data of the participant
	Found   Outcome = "found"     // a dry run found data of the participant
	Erased  Outcome = "forgotten" // the data is removed from the disk and from the bucket
	Skipped Outcome = "unchecked" // nothing was done, see the problems
	// Incomplete means that the current delivery is free of the data, but not everything could be
	// deleted; see the problems.
	Incomplete Outcome = "incomplete"
)

// Recording is the result for one recording.
type Recording struct {
	EgressID  string  `json:"egress_id"`
	SessionID string  `json:"session_id"`
	RoomName  string  `json:"room_name"`
	Outcome   Outcome `json:"outcome"`
	// Frames and Lines count the frames and the lines of events.jsonl of the participant that were
	// found or removed.
	Frames int64 `json:"frames"`
	Lines  int64 `json:"lines"`
	// Revision is the revision that was delivered without the participant; 0: none.
	Revision int `json:"revision,omitempty"`
	// Deleted counts objects and versions of older revisions.
	Deleted  int      `json:"deleted"`
	Problems []string `json:"problems,omitempty"`

	project string
}

// Answer is the result of an erasure.
type Answer struct {
	DryRun     bool        `json:"dry_run"`
	Recordings []Recording `json:"recordings"`
	Problems   []string    `json:"problems,omitempty"` // problems of no particular recording
}

// Complete reports whether the request was carried out without problems.
func (a Answer) Complete() bool {
	for _, r := range a.Recordings {
		if r.Outcome == Skipped || r.Outcome == Incomplete || len(r.Problems) > 0 {
			return false
		}
	}
	return len(a.Problems) == 0
}

// Erase removes a participant. The answer lists the problems with each recording, which do not
// affect other recordings. An error means that the request was invalid or that ctx ended.
func (f *Eraser) Erase(ctx context.Context, q Request) (Answer, error) {
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
		a.Recordings = append(a.Recordings, f.erase(ctx, rec, q))
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
	}
	if len(a.Recordings) == 0 && (q.Recording != "" || q.Session != "") {
		return a, errors.New("no such recording in the data directory; if it is only in the " +
			"bucket, use --from")
	}
	for _, p := range f.o.Spool.Problems() {
		a.Problems = append(a.Problems, "not searched: "+p.Path+" is not a usable recording")
	}
	// While data of the participant remains, the list is needed to find it.
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

// erase removes a participant from one recording.
func (f *Eraser) erase(ctx context.Context, rec *spool.Recording, q Request) Recording {
	i := rec.Info()
	r := Recording{
		EgressID: i.EgressID, SessionID: i.SessionID, RoomName: i.RoomName,
		Outcome: Skipped,
	}
	problem := func(what string, err error) Recording {
		r.Problems = append(r.Problems, what+": "+objstore.Redacted(err, plain(err)))
		return r
	}
	if rec.State() == spool.StateOpen {
		r.Problems = append(r.Problems, "the recording is still open; repeat the command when "+
			"the session has ended")
		return r
	}
	begun, err := rec.PurgePending()
	if err != nil {
		return problem("read the state of the recording", err)
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
			r.Problems = append(r.Problems, "an earlier removal is unfinished: some of the data "+
				"is not deleted yet")
		}
		return r
	}
	if r.Frames == 0 && !begun {
		r.Outcome = Nothing
		return r
	}
	r.Outcome = Incomplete
	if err := f.finish(ctx, rec, &r); err != nil {
		return problem("delete the earlier delivery", err)
	}
	return r
}

// plain returns the text of an error that is not from a store. Errors of the file system name only
// files of this service.
func plain(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
