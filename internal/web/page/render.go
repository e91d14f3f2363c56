package page

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
)

//go:embed templates/*.html
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"n":      func(v uint64) string { return number(v) },
	"count":  count,
	"bytes":  size,
	"length": func(a, b time.Time) string { return length(b.Sub(a)) },
	"sign":   sign,
	"word":   levelWord,
	"pill":   statePill,
	"rate":   rate,
	"id":     partID,
	"time":   timeElement,
	"place":  place,
}).ParseFS(templateFiles, "templates/*.html"))

// renderer executes templates. A page is made of parts, elements that change on their own: the
// first answer contains all of them, nested; later only those whose content changed are sent.
type renderer struct {
	at   time.Time
	live bool // collect the parts instead of nesting them
	// parts are the collected ones, each before those inside it
	parts []part
	err   error
}

// part is the content of an element.
type part struct{ ID, HTML string }

// node is what a template gets: its value, and the renderer for parts and times in it.
type node struct {
	R *renderer
	V any
}

// Node returns a node with another value.
func (r *renderer) Node(v any) node { return node{r, v} }

// Part returns an element whose content is made by a template.
func (r *renderer) Part(tag, id, class, name string, v any) template.HTML {
	at := len(r.parts)
	if r.live {
		r.parts = append(r.parts, part{ID: id})
	}
	inner := r.execute(name, v)
	if r.live {
		r.parts[at].HTML = inner
		inner = ""
	}
	return element(tag, id, class, inner)
}

// element returns an element that is a part. Identifiers and classes are made by this package and
// need no escaping, but get it.
func element(tag, id, class, inner string) template.HTML {
	attr := ""
	if class != "" {
		attr = ` class="` + template.HTMLEscapeString(class) + `"`
	}
	//nolint:gosec // inner was made by a template
	return template.HTML("<" + tag + ` id="` + template.HTMLEscapeString(id) + `"` + attr +
		` data-part>` + inner + "</" + tag + ">")
}

func (r *renderer) execute(name string, v any) string {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, node{r, v}); err != nil && r.err == nil {
		r.err = fmt.Errorf("template %s: %w", name, err)
	}
	return b.String()
}

// Ago returns a time as how long ago it was. What passes by itself is not content: the script
// shows it, and without the script it is as of this answer.
func (r *renderer) Ago(t time.Time) template.HTML {
	text := ""
	if !r.live {
		text = overview.Duration(r.at.Sub(t))
	}
	return timeHTML(t, "ago", text)
}

// Up returns the time since t as a clock.
func (r *renderer) Up(t time.Time) template.HTML {
	text := ""
	if !r.live {
		text = clock(r.at.Sub(t))
	}
	return timeHTML(t, "up", text)
}

// Columns returns a slice with as many elements as a list of n people has columns at most.
func (r *renderer) Columns(n int) []struct{} { return make([]struct{}, min(n, 4)) }

// Body returns the content of a page.
func (r *renderer) Body(name string, v any) template.HTML {
	return template.HTML(r.execute(name, v)) //nolint:gosec // made by a template
}

// At is the time of the service.
func (r *renderer) At() time.Time { return r.at }

// Stamp is the time of the service in milliseconds, for the script.
func (r *renderer) Stamp() int64 { return r.at.UnixMilli() }

// place is where a recording is or will be delivered.
func place(r overview.Recording) string {
	if r.Bucket == "" || r.Prefix == "" {
		return ""
	}
	return strings.TrimSuffix(r.Bucket, "/") + "/" + strings.TrimPrefix(r.Prefix, "/")
}

// timeElement returns a time in one of the formats of the script: "hm", "hms", "ms", "date",
// "began". It is in UTC until the script shows it in the reader's zone.
func timeElement(format string, t time.Time) template.HTML {
	layout := map[string]string{
		"hm": "15:04 UTC", "hms": "15:04:05", "ms": "15:04:05.000",
		"date": "2 Jan 2006, 15:04 UTC", "began": "Mon 2 Jan 2006, 15:04 UTC",
	}[format]
	return timeHTML(t, format, t.UTC().Format(layout))
}

func timeHTML(t time.Time, format, text string) template.HTML {
	//nolint:gosec // no part of it comes from outside
	return template.HTML(`<time datetime="` + t.UTC().Format("2006-01-02T15:04:05.000Z") +
		`" data-f="` + format + `">` + text + `</time>`)
}

// partID returns an id of an element, from a prefix and names from outside.
func partID(prefix string, names ...string) string {
	h := fnv.New64a()
	for _, n := range names {
		_, _ = h.Write([]byte(n))
		_, _ = h.Write([]byte{0})
	}
	return prefix + strconv.FormatUint(h.Sum64(), 36)
}

// truncate cuts a text to at most n bytes, at a character.
func truncate(n int, s string) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
