// Package problem answers a request that cannot be fulfilled: with a problem document (RFC 9457)
// for programs, with a page for browsers.
package problem

import (
	"encoding/json"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// ContentType is that of a problem document.
const ContentType = "application/problem+json"

// Document is a problem document of RFC 9457. Its type is about:blank: the status says what it is.
type Document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Write answers r with a problem: as a page if the client is a browser, otherwise as a document.
// Title says in a few words what is wrong, detail what to do about it. Neither may contain a
// secret, or the name of a participant.
func Write(w http.ResponseWriter, r *http.Request, status int, title, detail string) {
	if IsBrowser(r) {
		Page(w, status, View{Title: title, Text: detail, Home: r.URL.Path != "/"})
		return
	}
	JSON(w, status, title, detail)
}

// JSON answers with a problem document, whatever the client accepts.
func JSON(w http.ResponseWriter, status int, title, detail string) {
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The error of a client that is away is of no use.
	_ = json.NewEncoder(w).Encode(Document{"about:blank", title, status, detail})
}

// IsBrowser reports whether a client prefers a page to JSON and to an event stream.
func IsBrowser(r *http.Request) bool {
	page, other := 0.0, 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		switch mediaType {
		case "text/html", "application/xhtml+xml":
			page = max(page, q)
		case "application/json", ContentType, "text/event-stream":
			other = max(other, q)
		}
	}
	return page > other
}

// View is the content of [Page].
type View struct {
	Title string
	Text  string        // a pair of backticks encloses code, as in documents
	Home  bool          // link to the page of the service
	Form  template.HTML // a form below the text
	Next  string        // where the browser goes on at once; "" = nowhere
}

// Policy is the content security policy of [Page]: no script, the style of the service.
const Policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// Page answers with a short page in the style of the service.
func Page(w http.ResponseWriter, status int, v View) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", Policy)
	w.WriteHeader(status)
	_ = shell.Execute(w, v) // a client that is away
}

// marked makes code of what backticks enclose.
func marked(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

var shell = template.Must(template.New("problem").Funcs(template.FuncMap{
	"marked": marked,
}).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{{- if .Next}}
<meta http-equiv="refresh" content="0; url={{.Next}}">
{{- end}}
<title>{{.Title}} · textegress</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/page.css">
</head>
<body class="plain">
<main>
<h1>{{.Title}}</h1>
{{- if .Text}}
<p>{{marked .Text}}</p>
{{- end}}
{{- .Form}}
{{- if .Next}}
<p><a href="{{.Next}}">Continue</a></p>
{{- else if .Home}}
<p><a href="/">To the page of the service</a></p>
{{- end}}
</main>
</body>
</html>
`))
