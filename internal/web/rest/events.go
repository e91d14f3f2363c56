package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/problem"
	"github.com/syncflow/textegress/internal/web/stream"
)

// Bounds of a page of lines.
const (
	defaultLines = 500
	maxLines     = 5000
	maxPageBytes = 4 << 20 // reached by the last line of a page
	maxScanned   = 50_000  // lines that filters leave out of one page
	defaultWait  = 1       // seconds
	maxWait      = 30
)

// keepAlive is the time after which a silent stream sends a comment, so that proxies keep the
// connection open.
const keepAlive = 15 * time.Second

// filter selects lines.
type filter struct {
	topics, identities []pattern.Pattern
	kinds              []string
	since              int64
}

func (f filter) match(ev overview.Event) bool {
	return among(f.topics, ev.Topic) && among(f.identities, ev.Identity) &&
		(len(f.kinds) == 0 || slices.Contains(f.kinds, ev.Kind)) && ev.UnixNS >= f.since
}

// among reports whether a name matches one of the patterns, or there are none.
func among(list []pattern.Pattern, name string) bool {
	return len(list) == 0 || slices.ContainsFunc(list,
		func(p pattern.Pattern) bool { return p.Match(name) })
}

// page is the answer to a request for lines.
type page struct {
	Version string            `json:"version"`
	Text    bool              `json:"text"`
	Lines   []json.RawMessage `json:"lines"`
	// Next is the from of the next page.
	Next     int64 `json:"next"`
	Complete bool  `json:"complete"`
}

func (a *api) events(w http.ResponseWriter, r *http.Request) {
	q, ok := parameters(w, r, "from", "limit", "wait", "topic", "identity", "kind", "since")
	if !ok {
		return
	}
	from := int64(q.number("from", 1, 1, math.MaxInt))
	limit := q.number("limit", defaultLines, 1, maxLines)
	wait := time.Duration(q.number("wait", defaultWait, 0, maxWait)) * time.Second
	f := filter{
		topics: q.patterns("topic"), identities: q.patterns("identity"), kinds: q.values["kind"],
	}
	if since := q.since("since", time.Now()); !since.IsZero() {
		f.since = since.UnixNano()
	}
	streams := wantsStream(r)
	if id := r.Header.Get("Last-Event-ID"); streams && id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 0 || n == math.MaxInt64 {
			q.problem("The header Last-Event-ID is not the number of a line.")
		}
		from = n + 1
	}
	if q.refuse(w) {
		return
	}
	id := r.PathValue("id")
	events, err := a.service.Events(r.Context(), id, from)
	if err != nil {
		a.fail(w, err)
		return
	}
	defer func() { _ = events.Close() }()
	if events.Text() {
		access.Log(r.Context(), a.log, "text", id)
	}
	if streams {
		a.stream(w, r, events, from, f)
		return
	}
	p, err := readPage(r.Context(), events, from, limit, wait, f)
	if err != nil {
		a.fail(w, err)
		return
	}
	a.write(w, p)
}

func wantsStream(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if t, _, err := mime.ParseMediaType(part); err == nil && t == "text/event-stream" {
			return true
		}
	}
	return false
}

// readPage reads the lines that are there, and waits for the first one if there is none.
func readPage(ctx context.Context, events overview.Events, from int64, limit int,
	wait time.Duration, f filter,
) (page, error) {
	p := page{Text: events.Text(), Lines: []json.RawMessage{}, Next: from}
	size, scanned := 0, 0
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for len(p.Lines) < limit && size < maxPageBytes && scanned < maxScanned {
		nctx := ctx
		if p.Next > events.Ready() {
			if len(p.Lines)+scanned > 0 {
				break
			}
			nctx = wctx
		}
		ev, err := events.Next(nctx)
		if errors.Is(err, io.EOF) {
			p.Complete = true
			break
		}
		if err != nil && nctx.Err() != nil && ctx.Err() == nil {
			break // nothing came in time
		}
		if err != nil {
			return p, err
		}
		p.Next = ev.N + 1
		if !f.match(ev) {
			scanned++
			continue
		}
		p.Lines = append(p.Lines, ev.JSON)
		size += len(ev.JSON)
	}
	p.Version = events.Version()
	return p, nil
}

// Names of the events of a stream. A line has none.
const (
	versionEvent = "version" // first, and when the lines are made differently from then on
	endEvent     = "end"     // after the last line of a complete recording
	problemEvent = "problem" // nothing follows
)

func (a *api) stream(w http.ResponseWriter, r *http.Request, events overview.Events, from int64,
	f filter,
) {
	s, ok := stream.Open(w, r)
	if !ok {
		return
	}
	defer s.Close()
	version, err := "", s.Comment() // the client learns at once that the stream is open
	last, written := from-1, time.Now()
	for err == nil {
		if v := events.Version(); v != version {
			version = v
			if err = s.Event("", versionEvent, object(struct {
				Version string `json:"version"`
				Text    bool   `json:"text"`
				From    int64  `json:"from"`
			}{v, events.Text(), last + 1})); err != nil {
				return
			}
		}
		var ev overview.Event
		ev, err = next(s.Context(), events)
		switch {
		case s.Context().Err() != nil:
			return
		case errors.Is(err, io.EOF):
			_ = s.Event("", endEvent, object(struct {
				Last int64 `json:"last"`
			}{last}))
			return
		case errors.Is(err, context.DeadlineExceeded):
			err, written = s.Comment(), time.Now()
		case err != nil:
			status, title, detail := describe(err)
			_ = s.Event("", problemEvent, object(problem.Document{
				Type: "about:blank", Title: title, Status: status, Detail: detail,
			}))
			return
		default:
			last = ev.N
			switch {
			case f.match(ev):
				err = s.Event(strconv.FormatInt(ev.N, 10), "", string(ev.JSON))
				written = time.Now()
			case time.Since(written) >= keepAlive: // filters leave out all that comes
				err, written = s.Comment(), time.Now()
			}
		}
	}
}

// next returns the next line, or context.DeadlineExceeded when it is time for a comment.
func next(ctx context.Context, events overview.Events) (overview.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, keepAlive)
	defer cancel()
	return events.Next(ctx)
}

// object encodes a value of this package, which cannot fail.
func object(v any) string {
	var buf bytes.Buffer
	_ = json.NewEncoder(&buf).Encode(v)
	return strings.TrimSuffix(buf.String(), "\n")
}
