package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/stream"
)

// Limits of what a page of text shows.
const (
	maxLines     = 200
	maxScanned   = 20000 // lines looked through for those that fit
	linesASecond = 20
)

var errTextRefused = fmt.Errorf("%w: LIVE_TEXT is not set for this project, so the page shows no "+
	"text. The delivered recording has it", overview.ErrRefused)

// lines is the page with the text of a recording.
type lines struct {
	overview.Recording

	Live            bool
	Topic, Identity string
	Topics          []string
	Lines           []said
	Earlier, Later  string
	Follow          string // path of the stream of further lines
}

// match selects lines.
type match struct{ topic, identity string }

func matchOf(form url.Values) match { return match{form.Get("topic"), form.Get("identity")} }

func (m match) fits(e overview.Event) bool {
	return (m.topic == "" || e.Topic == m.topic) && (m.identity == "" || e.Identity == m.identity)
}

// textOf returns a recording whose text may be shown.
func (h *Handler) textOf(r *http.Request) (overview.Recording, error) {
	rec, err := h.service.Recording(r.Context(), r.PathValue("id"))
	if err == nil && !rec.TextAllowed {
		err = errTextRefused
	}
	return rec, err
}

// text serves a page of the text of a recording: the last lines if it is running, otherwise the
// first ones, or those from a given line on.
func (h *Handler) text(w http.ResponseWriter, r *http.Request) {
	rec, err := h.textOf(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	access.Log(r.Context(), h.logger, "text", rec.EgressID)
	form := r.URL.Query()
	l := lines{
		Recording: rec.For(rights(r)), Live: running(rec.Session),
		Topic: form.Get("topic"), Identity: form.Get("identity"),
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	from, _ := strconv.ParseInt(form.Get("from"), 10, 64)
	next, more, err := h.read(ctx, &l, from, matchOf(form))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	path := "/recordings/" + url.PathEscape(rec.EgressID) + "/text"
	filter := url.Values{}
	for _, k := range []string{"topic", "identity"} {
		if v := form.Get(k); v != "" {
			filter.Set(k, v)
		}
	}
	link := func(path string, from int64) string {
		v := url.Values{"from": {strconv.FormatInt(from, 10)}}
		for k := range filter {
			v[k] = filter[k]
		}
		return path + "?" + v.Encode()
	}
	if len(l.Lines) > 0 && l.Lines[0].N > 1 {
		l.Earlier = link(path, max(1, l.Lines[0].N-maxLines))
	}
	if more {
		l.Later = link(path, next)
	} else if l.Live {
		l.Follow = link(path+"/stream", next)
	}
	h.write(w, r, http.StatusOK, h.service.Overview(), frame{
		Title: "Text of " + rec.Room, Page: "now", Name: "text", Body: l,
	})
}

// read fills in the lines of a page. next is the line after them; more is set if there are further
// ones already.
func (h *Handler) read(ctx context.Context, l *lines, from int64, m match) (next int64, more bool,
	err error,
) {
	events, err := h.service.Events(ctx, l.EgressID, max(1, from))
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = events.Close() }()
	if !events.Text() {
		return 0, false, errTextRefused
	}
	if from < 1 && l.Live && events.Ready() > maxLines {
		_ = events.Close()
		from = events.Ready() - maxLines + 1
		if events, err = h.service.Events(ctx, l.EgressID, from); err != nil {
			return 0, false, err
		}
		defer func() { _ = events.Close() }()
	}
	next = max(1, from)
	for range maxScanned {
		if l.Live && next > events.Ready() {
			return next, false, nil
		}
		e, err := events.Next(ctx)
		if errors.Is(err, io.EOF) {
			return next, false, nil
		}
		if err != nil {
			return next, false, err
		}
		next = e.N + 1
		if e.Topic != "" && !slices.Contains(l.Topics, e.Topic) && len(l.Topics) < 100 {
			l.Topics = append(l.Topics, e.Topic)
		}
		if s, ok := newSaid(e); ok && m.fits(e) {
			if l.Lines = append(l.Lines, s); len(l.Lines) == maxLines {
				break
			}
		}
	}
	return next, true, nil
}

// line is one event of a stream of text.
type line struct {
	N     int64  `json:"n"`
	Topic string `json:"topic"`
	HTML  string `json:"html"`
}

// textStream serves further lines of a running recording. Without a start it begins with the last
// few. It shows at most linesASecond lines a second, and says how many it left out.
func (h *Handler) textStream(w http.ResponseWriter, r *http.Request) {
	rec, err := h.textOf(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	form := r.URL.Query()
	from, _ := strconv.ParseInt(form.Get("from"), 10, 64)
	events, err := h.service.Events(r.Context(), rec.EgressID, max(1, from))
	if err == nil {
		access.Log(r.Context(), h.logger, "text", rec.EgressID)
	}
	if err == nil && from < 1 {
		if ready := events.Ready(); ready > linesASecond {
			_ = events.Close()
			events, err = h.service.Events(r.Context(), rec.EgressID, ready-linesASecond+1)
		}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer func() { _ = events.Close() }()
	if !events.Text() {
		h.refuse(w, r, errTextRefused)
		return
	}
	s, ok := stream.Open(w, r)
	if !ok {
		return
	}
	defer s.Close()
	if err := s.Comment(); err != nil {
		return
	}
	follow(s, events, matchOf(form))
}

// follow sends the lines that fit until the recording is complete or the reader has left.
func follow(s *stream.Stream, events overview.Events, m match) {
	var second time.Time
	shown, left := 0, 0
	for {
		ctx, cancel := context.WithTimeout(s.Context(), pulse)
		e, err := events.Next(ctx)
		cancel()
		now := time.Now()
		if now.Sub(second) >= time.Second {
			if left > 0 && send(s, 0, skipped(left, now)) != nil {
				return
			}
			second, shown, left = now, 0, 0
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded) && s.Context().Err() == nil:
			if s.Event("", "pulse", "") != nil {
				return
			}
			continue
		case err != nil:
			_ = s.Event("", "end", "")
			return
		}
		said, ok := newSaid(e)
		if !ok || !m.fits(e) {
			continue
		}
		if shown == linesASecond {
			left++
			continue
		}
		shown++
		if send(s, e.N, said) != nil {
			return
		}
	}
}

func send(s *stream.Stream, n int64, l said) error {
	rend := &renderer{}
	data, err := json.Marshal(line{N: n, Topic: l.Topic, HTML: rend.execute("said", l)})
	if err != nil {
		return err
	}
	return s.Event("", "said", string(data))
}
