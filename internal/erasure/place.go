package erasure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/objstore/prefixed"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Place is a location of delivered recordings that are no longer in any data directory.
type Place struct {
	Bucket objstore.Bucket
	// Prefix is the prefix of one or more recordings, with a trailing slash; empty: the whole
	// bucket.
	Prefix string
	// Scratch is an empty directory for one call. It holds recordings while they are rewritten. The
	// caller removes it.
	Scratch string
	// KeysFor returns the keys with which a project's recordings were decrypted at delivery; nil:
	// there are none. If the number of packets that these keys decrypt differs from that in the
	// manifest, the revision is left unchanged and a problem is reported, because its lines would
	// get other numbers. A revision that was delivered without keys is not decrypted.
	KeysFor func(projectID string) (*render.Keys, error)
	// DiskMinFree is like that of [spool.Options], for the file system of Scratch.
	DiskMinFree int64
	Logger      *slog.Logger
}

var revisionDir = regexp.MustCompile(`^(.*?)r([1-9][0-9]{0,8})/$`)

// From removes a participant from the recordings that were delivered below a prefix, and uses their
// raw segments there. Otherwise it works like [Eraser.Erase]. If a service still has a recording in
// its data directory, use [Eraser.Erase] there instead, because the service would not learn of the
// new revision.
func From(ctx context.Context, p Place, q Request) (Answer, error) {
	if q.Identity == "" {
		return Answer{}, errors.New("name the participant's identity")
	}
	revisions, err := p.find(ctx)
	if err != nil {
		return Answer{}, err
	}
	if len(revisions) == 0 {
		return Answer{}, errors.New("no manifest.json below this place")
	}
	sp, err := spool.Open(p.Scratch, spool.Options{DiskMinFree: p.DiskMinFree})
	if err != nil {
		return Answer{}, err
	}
	defer sp.Close() //nolint:errcheck // the caller discards the directory
	a := Answer{DryRun: q.DryRun, Recordings: []Recording{}}
	for _, base := range slices.Sorted(maps.Keys(revisions)) {
		r := Recording{Outcome: Skipped}
		if err := p.erase(ctx, sp, base, revisions, q, &r); err != nil {
			if ctx.Err() != nil {
				return a, context.Cause(ctx)
			}
			r.Problems = append(r.Problems, objstore.Redacted(err, plain(err)))
		}
		if matches(q.Project, r.project) && matches(q.Session, r.SessionID) &&
			matches(q.Recording, r.EgressID) {
			a.Recordings = append(a.Recordings, r)
		}
	}
	return a, nil
}

// find returns the revisions that have a manifest, by the prefix of the recording.
func (p Place) find(ctx context.Context) (map[string][]int, error) {
	found := map[string][]int{}
	for o, err := range p.Bucket.List(ctx, p.Prefix) {
		if err != nil {
			return nil, err
		}
		dir, ok := strings.CutSuffix(o.Key, textegress.ManifestName)
		if !ok || dir != "" && !strings.HasSuffix(dir, "/") {
			continue
		}
		base, revision := dir, 1
		if m := revisionDir.FindStringSubmatch(dir); m != nil &&
			(m[1] == "" || strings.HasSuffix(m[1], "/")) {
			base = m[1]
			revision, _ = strconv.Atoi(m[2]) // at most nine digits
		}
		found[base] = append(found[base], revision)
	}
	return found, nil
}

func revisionPrefix(base string, revision int) string {
	if revision == 1 {
		return base
	}
	return fmt.Sprintf("%sr%d/", base, revision)
}

func (p Place) erase(ctx context.Context, sp *spool.Spool, base string, revisions map[string][]int,
	q Request, r *Recording,
) error {
	latest := slices.Max(revisions[base])
	// Data that is read twice is the same both times.
	fsys, m, err := bindManifest(objfs.New(ctx, p.Bucket, revisionPrefix(base, latest)))
	if err != nil {
		return err
	}
	r.EgressID, r.SessionID, r.RoomName, r.project = m.EgressID, m.Session.ID, m.Session.RoomName,
		m.Project.ID
	if !matches(q.Project, r.project) || !matches(q.Session, r.SessionID) ||
		!matches(q.Recording, r.EgressID) {
		return nil
	}
	if m.Revision != latest {
		return fmt.Errorf("manifest.json states revision %d but is stored as revision %d; "+
			"nothing was changed", m.Revision, latest)
	}
	src, err := delivered(ctx, fsys)
	if errors.Is(err, render.ErrPseudonyms) {
		return errPseudonyms
	}
	if err != nil {
		return err
	}
	info := src.Info().WithOwnPrefix()
	src = placed{src, info}
	keys, err := p.keys(m)
	if err != nil {
		return err
	}
	own := p.own(ctx, base, revisions, info)
	bucket := prefixed.New(p.Bucket, info.KeyPrefix, base, own.has)
	projects := place{bucket, keys}
	f := New(Options{
		Spool: sp, Projects: projects, Logger: p.Logger,
		Dispatcher: delivery.New(delivery.Options{Spool: sp, Projects: projects, Retention: -1}),
	})
	f.shared = !own.alone
	sink := render.NewDiscardSink(diskguard.Reserved(p.DiskMinFree))
	o := decode.Options{Keys: keys, Scratch: sink.Scratch}
	rec, err := replace(ctx, sp, src, o,
		delivery.Rewrite{Revision: latest + 1}, q, r, func(plan *erasePlan) error {
			return sameKeys(m, plan)
		})
	switch {
	case err != nil:
		return err
	case q.DryRun && r.Frames > 0:
		r.Outcome = Found
		return nil
	case rec != nil:
		r.Outcome = Incomplete
		return own.report(r, f.finish(ctx, rec, r))
	case q.DryRun || m.Forgotten == nil || latest == 1:
		r.Outcome = Nothing
		return nil
	}
	// A participant was removed in the latest revision, and older revisions may remain to be
	// deleted.
	frozen, err := delivery.NewPlan(info, m)
	if err != nil {
		return err
	}
	r.Outcome, r.Revision = Incomplete, latest
	complete, err := f.purge(ctx, bucket, info, frozen, r)
	if err != nil || !complete {
		return err
	}
	if r.Outcome = Erased; r.Deleted == 0 {
		r.Outcome = Nothing
	}
	return own.report(r, nil)
}

// placed is a source whose Info has a checked KeyPrefix instead of the one that the recording
// states.
type placed struct {
	render.Source

	info spool.Info
}

func (p placed) Info() spool.Info { return p.info }

// keys returns the keys with which a revision was derived.
func (p Place) keys(m textegress.Manifest) (*render.Keys, error) {
	if m.Counts.DecryptedPackets == nil || p.KeysFor == nil {
		return nil, nil //nolint:nilnil // it was derived without keys
	}
	return p.KeysFor(m.Project.ID)
}

// sameKeys returns an error unless the keys decrypt as many packets as were decrypted when the
// revision was derived.
func sameKeys(m textegress.Manifest, plan *erasePlan) error {
	var was int64
	if m.Counts.DecryptedPackets != nil {
		was = *m.Counts.DecryptedPackets
	}
	if was == plan.decrypted {
		return nil
	}
	return fmt.Errorf("nothing was changed: %d encrypted packets were decrypted when this "+
		"revision was delivered, but the given keys decrypt %d; give the keys of that delivery "+
		"with --e2ee-key-file or in the settings of the project", was,
		plan.decrypted)
}

// place implements [delivery.Projects] for a single place.
type place struct {
	bucket objstore.Bucket
	keys   *render.Keys
}

func (p place) Bucket(string) (objstore.Bucket, error) { return p.bucket, nil }
func (p place) Keys(string) *render.Keys               { return p.keys }

func (place) Pseudonyms(spool.Info) (redact.Pseudonyms, error) {
	return nil, errors.New("a recording delivered under pseudonyms cannot be delivered again " +
		"from its objects")
}
