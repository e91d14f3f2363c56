package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/statement"
)

// Recordings implements [overview.Service]. It lists what the data directory knows: a recording
// stays in it for 30 days after its delivery, also when its data was removed earlier.
func (s *overviewService) Recordings(ctx context.Context, q overview.Query) (
	overview.RecordingPage, error,
) {
	before, err := parseCursor(q.Cursor)
	if err != nil {
		return overview.RecordingPage{}, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = overview.DefaultLimit
	}
	limit = min(limit, overview.MaxLimit)
	text := strings.ToLower(q.Text)
	var list []cursor
	for rec := range s.spool.All() {
		i := rec.Info()
		at := time.Unix(0, i.CreatedUnixNS)
		if (q.Project == "" || i.ProjectID == q.Project) &&
			(q.From.IsZero() || !at.Before(q.From)) && (q.To.IsZero() || at.Before(q.To)) &&
			(q.Cursor == "" || before.after(i)) && contains(i, text) {
			list = append(list, cursorOf(i))
		}
	}
	slices.SortFunc(list, func(a, b cursor) int { return b.compare(a) }) // newest first
	page := overview.RecordingPage{Recordings: []overview.Recording{}}
	if len(list) > limit {
		page.Next = list[limit-1].String()
		list = list[:limit]
	}
	live := s.liveSessions()
	for _, at := range list {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		rec, ok := s.spool.Recording(at.id)
		if !ok {
			continue // removed meanwhile
		}
		r, _ := s.describeRecording(rec, live)
		r.People = nil
		page.Recordings = append(page.Recordings, r)
	}
	return page, nil
}

func contains(i spool.Info, text string) bool {
	if text == "" {
		return true
	}
	for _, of := range []string{i.RoomName, i.SessionID, i.EgressID, i.ProjectName} {
		if strings.Contains(strings.ToLower(of), text) {
			return true
		}
	}
	return false
}

// cursor is the position of a recording in a list: its creation time and its id.
type cursor struct {
	unixNS int64
	id     string
}

func cursorOf(i spool.Info) cursor { return cursor{i.CreatedUnixNS, i.EgressID} }

func (c cursor) String() string { return strconv.FormatInt(c.unixNS, 36) + "." + c.id }

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.unixNS, d.unixNS), strings.Compare(c.id, d.id))
}

// after reports whether a recording is on a later page than c, the last one of its page.
func (c cursor) after(i spool.Info) bool { return cursorOf(i).compare(c) < 0 }

func parseCursor(s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	at, id, ok := strings.Cut(s, ".")
	unixNS, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil {
		return cursor{}, fmt.Errorf("%w: the cursor is not one of this service: begin without one",
			overview.ErrInvalid)
	}
	return cursor{unixNS, id}, nil
}

// liveSessions returns the sessions of the overview by egress id.
func (s *overviewService) liveSessions() map[string]overview.Session {
	live := map[string]overview.Session{}
	for _, session := range s.Overview().Sessions {
		live[session.EgressID] = session
	}
	return live
}

// find returns a recording of the data directory.
func (s *overviewService) find(egressID string) (*spool.Recording, error) {
	rec, ok := s.spool.Recording(egressID)
	if !ok {
		return nil, fmt.Errorf("recording: %w", overview.ErrNotFound)
	}
	return rec, nil
}

// describeRecording describes a recording by the overview and its state files, with its plan, which
// is zero if there is none.
func (s *overviewService) describeRecording(rec *spool.Recording,
	live map[string]overview.Session,
) (overview.Recording, delivery.Plan) {
	r := overview.Recording{Session: s.storedSession(rec), HasEvents: true}
	if session, ok := live[rec.ID()]; ok {
		r.Session = session
	}
	r.Attended = len(r.People)
	if r.Attended == 0 {
		r.Attended = r.Count
	}
	if bucket, err := (liveProjects{s.App}).Bucket(r.Project); err == nil {
		r.Bucket = place(bucket.String())
	}
	r.Prefix = rec.Info().KeyPrefix
	if rec.State() == spool.StateOpen || rec.State() == spool.StateSealed {
		return r, delivery.Plan{}
	}
	plan, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return r, delivery.Plan{} // the delivery reports it
	}
	r.Prefix, r.Objects, r.Bytes = plan.Prefix, len(plan.Objects), plan.Bytes()
	for _, o := range plan.Objects {
		if o.Key == reportName {
			r.HasReport = true
		}
	}
	if plan.Summary != nil {
		summarize(&r, *plan.Summary)
	}
	if up, ok, err := delivery.LoadUploaded(rec); err == nil && ok {
		r.Bucket = place(up.Bucket)
		r.Prefix = up.Prefix
	}
	return r, plan
}

// place shortens [objstore.Bucket.String] for people.
func place(bucket string) string {
	bucket, _, _ = strings.Cut(bucket, " at ") // s3://name at endpoint
	return strings.TrimPrefix(bucket, "directory ")
}

func summarize(r *overview.Recording, sum delivery.Summary) {
	r.Captured = overview.Phrase{Text: sum.Captured, Level: overview.Level(sum.Level)}
	r.Messages, r.Outages = uint64(max(sum.Messages, 0)), sum.Outages
	r.Attended, r.Files = sum.Participants, sum.Files
	if r.State == overview.StateDelivered {
		r.Level = r.Captured.Level
	}
}

// Recording implements [overview.Service]. If the manifest cannot be read, the statement is
// missing.
func (s *overviewService) Recording(ctx context.Context, egressID string) (
	overview.Recording, error,
) {
	rec, err := s.find(egressID)
	if err != nil {
		return overview.Recording{}, err
	}
	r, plan := s.describeRecording(rec, s.liveSessions())
	if len(plan.Objects) == 0 {
		return r, nil
	}
	m, err := s.manifestOf(ctx, rec, plan)
	if err != nil {
		s.log.Debug("a recording is shown without its statement", "egress_id", rec.ID(), "error",
			err)
		return r, nil
	}
	summarize(&r, delivery.NewSummary(m))
	r.Statement, r.Methods = statement.Sentences(m), statement.Methods(m)
	if m.StartedUnixNS != 0 {
		r.Since = time.Unix(0, m.StartedUnixNS)
	}
	return r, nil
}

// manifestTimeout is the time that the page waits for a store.
const manifestTimeout = 10 * time.Second

// manifestOf returns the manifest of a plan. The last ones are kept, because a page asks often.
func (s *overviewService) manifestOf(ctx context.Context, rec *spool.Recording,
	plan delivery.Plan,
) (textegress.Manifest, error) {
	key := plan.Objects[len(plan.Objects)-1].SHA256
	if m, ok := s.manifests.get(key); ok {
		return m, nil
	}
	ctx, cancel := context.WithTimeout(ctx, manifestTimeout)
	defer cancel()
	m, ok, err := s.manifest(ctx, rec)
	if err != nil || !ok {
		return m, cmp.Or(err, overview.ErrNotNow)
	}
	s.manifests.put(key, m)
	return m, nil
}

// maxManifests is how many manifests are kept.
const maxManifests = 32

// manifests keeps the manifests that were read last. The zero value is ready for use.
type manifests struct {
	mu    sync.Mutex
	of    map[string]textegress.Manifest // by SHA-256
	order []string                       // oldest first
}

func (c *manifests) get(key string) (textegress.Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.of[key]
	return m, ok
}

func (c *manifests) put(key string, m textegress.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]textegress.Manifest{}
	}
	if _, ok := c.of[key]; ok {
		return
	}
	if c.order = append(c.order, key); len(c.order) > maxManifests {
		delete(c.of, c.order[0])
		c.order = c.order[1:]
	}
	c.of[key] = m
}
