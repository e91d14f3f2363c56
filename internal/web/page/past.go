package page

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/timeline"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/stream"
)

// list is a list of recordings.
type list struct {
	Recordings []overview.Recording
	Text       string
	From, To   string
	Filtered   bool
	Next       string // path of older ones
	Later      string // path of the newest, on any page but the first
}

// past serves the list of recordings.
func (h *Handler) past(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	l := list{
		Text: form.Get("q"), From: form.Get("from"), To: form.Get("to"),
	}
	q := overview.Query{
		Text: strings.TrimSpace(l.Text), Project: form.Get("project"), Cursor: form.Get("cursor"),
	}
	// Dates are those of the reader's calendar. One that is no date is as if it was not given.
	zone := location(form.Get("zone"))
	if t, err := time.ParseInLocation(time.DateOnly, l.From, zone); err == nil {
		q.From = t
	}
	if t, err := time.ParseInLocation(time.DateOnly, l.To, zone); err == nil {
		q.To = t.AddDate(0, 0, 1)
	}
	l.Filtered = q.Text != "" || q.Project != "" || !q.From.IsZero() || !q.To.IsZero()
	page, err := h.service.Recordings(r.Context(), q)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	for _, rec := range page.Recordings {
		l.Recordings = append(l.Recordings, rec.For(rights(r)))
	}
	link := func(cursor string) string {
		v := url.Values{}
		for _, k := range []string{"q", "from", "to", "zone", "project"} {
			if s := form.Get(k); s != "" {
				v.Set(k, s)
			}
		}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		return strings.TrimSuffix("/recordings?"+v.Encode(), "?")
	}
	if page.Next != "" {
		l.Next = link(page.Next)
	}
	if q.Cursor != "" {
		l.Later = link("")
	}
	h.write(w, r, http.StatusOK, h.service.Overview(),
		frame{Title: "Recordings", Page: "past", Name: "past", Body: l})
}

// location returns a time zone by its name, UTC if there is none of that name here.
func location(name string) *time.Location {
	if zone, err := time.LoadLocation(name); err == nil && name != "Local" {
		return zone
	}
	return time.UTC
}

// one is the page of a recording.
type one struct {
	overview.Recording

	Live    bool
	Card    card
	Figure  template.HTML
	CanText bool
	CanZip  bool
}

// recording serves the page of one recording.
func (h *Handler) recording(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	rec, err := h.service.Recording(r.Context(), id)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	can := rights(r)
	rec = rec.For(can)
	o := h.service.Overview()
	p := one{
		Recording: rec, Live: running(rec.Session),
		CanText: can.Read && rec.TextAllowed && rec.HasEvents,
		CanZip:  can.Read && rec.TextAllowed && rec.State == overview.StateDelivered,
	}
	p.HasReport = rec.HasReport && can.Read
	p.HasEvents = rec.HasEvents && can.Read
	f := frame{Title: rec.Room, Page: "past", Name: "recording"}
	if p.Live {
		p.Card = aloneCard(rec.Session, o.At, can)
		f.Stream, f.Icon = "/recordings/"+url.PathEscape(id)+"/stream", string(rec.Level)
	}
	if p.HasEvents {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		p.Figure = h.figure(ctx, id, time.UTC)
	}
	f.Body = p
	h.write(w, r, http.StatusOK, o, f)
}

// aloneCard is the card of a session on a page of its own: all people are listed.
func aloneCard(s overview.Session, at time.Time, r overview.Rights) card {
	c := newCard(s, at, r, len(s.People))
	c.Alone = true
	return c
}

// recordingStream serves the changes of the page of a running recording.
func (h *Handler) recordingStream(w http.ResponseWriter, r *http.Request) {
	id, can := r.PathValue("id"), rights(r)
	h.serveView(w, r, "one "+rightsKey(can)+id, func(o overview.Overview) (shown, bool) {
		for _, s := range o.Sessions {
			if s.EgressID != id || !running(s) {
				continue
			}
			rend := &renderer{at: o.At, live: true}
			rend.Part("div", "now", "", "session", aloneCard(s.For(can), o.At, can))
			return shown{Title: s.Room, Icon: s.Level, Parts: rend.parts}, rend.err == nil
		}
		return shown{End: true}, true
	})
}

// timeline serves the timeline of a recording, a fragment for the script.
func (h *Handler) timeline(w http.ResponseWriter, r *http.Request) {
	if !rights(r).Read {
		access.Refuse(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, string(h.figure(r.Context(), r.PathValue("id"),
		location(r.URL.Query().Get("zone")))))
}

// figure returns the timeline of a recording as HTML, or why there is none.
func (h *Handler) figure(ctx context.Context, id string, zone *time.Location) template.HTML {
	data, err := h.service.Timeline(ctx, id)
	var b bytes.Buffer
	if err == nil {
		err = data.Figure(&b, timeline.Options{Zone: zone})
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return `<p class="soft">The timeline is still being made.</p>`
	case err != nil:
		return template.HTML(`<p class="soft">There is no timeline: ` + //nolint:gosec // escaped
			template.HTMLEscapeString(err.Error()) + `</p>`)
	}
	return template.HTML(b.String()) //nolint:gosec // the figure escapes what comes from outside
}

// report serves report.html. Its own policy lets its style in, and nothing else.
func (h *Handler) report(w http.ResponseWriter, r *http.Request) {
	report, err := h.service.Report(r.Context(), r.PathValue("id"))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer func() { _ = report.Close() }()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+
		"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = io.Copy(w, report)
}

// zip serves all objects of a recording as one archive.
func (h *Handler) zip(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	rec, err := h.service.Recording(r.Context(), id)
	if err == nil && !rec.TextAllowed {
		err = errTextRefused
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	access.Log(r.Context(), h.logger, "zip", id)
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+fileName(rec)+`.zip"`)
	if err := h.service.Zip(r.Context(), id, stream.Long(w)); err != nil {
		h.logger.Warn("cannot send a recording as an archive", "egress_id", id, "error", err)
		panic(http.ErrAbortHandler) // the client must not take the rest for the whole
	}
}

// fileName is a name that every file system can hold.
func fileName(rec overview.Recording) string {
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '_'
	}, truncate(60, rec.Room))
	return strings.Trim(clean+"-"+rec.Since.UTC().Format("2006-01-02-1504"), "_-")
}
