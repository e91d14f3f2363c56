// Package redact removes confidential data from text in logs, errors and status pages, and from
// recordings that are delivered with pseudonyms.
//
// The guarantee for text: [Text] returns one printable line that contains none of the values passed
// as hidden, however they are encoded, and nothing that has the form of a secret. The guarantee for
// a recording: [Pseudonymizer] builds new messages and manifests from fields that are known to be
// harmless. The tests of this package verify these guarantees.
package redact

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/syncflow/textegress"
)

// Mark replaces removed text.
const Mark = "…"

const (
	// an answer can be a whole page, and its beginning is enough
	maxInput = 2 << 10
	maxText  = 300
	// Servers truncate long texts. At the end of a text, a prefix of a hidden value is hidden too
	// if it has at least this many bytes.
	minPrefix = 4
)

// Text makes text from an external source, or text that quotes one, safe for logs and errors. It
// returns one printable line of valid UTF-8 of at most 300 bytes. [Mark] replaces every value in
// hidden, even if it is escaped, quoted or truncated at the end, and everything that has the form
// of a secret: tokens, passwords and queries in URLs, credentials in headers, access keys.
//
// Harmless text is returned unchanged, because other packages compare the result with known texts.
func Text(s string, hidden ...string) string {
	s = s[:min(len(s), maxInput)]
	hidden = slices.DeleteFunc(slices.Clone(hidden), func(h string) bool { return h == "" })
	s = replace(s, append(valueSpans(s, hidden), formSpans(s)...))
	s = printable(s)
	// removing control characters may have joined two parts of a value
	s = replace(s, valueSpans(s, hidden))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + Mark
	}
	if len(valueSpans(s, hidden)) > 0 { // formed together with a mark
		if s = Mark; len(valueSpans(s, hidden)) > 0 {
			s = ""
		}
	}
	return s
}

// Error returns an error that wraps err and whose text is [Text] of the text of err. It also hides
// the credentials in URLs that errors of net/url quote, and leaves out our own port. It returns nil
// for nil.
//
// Unwrapping the result yields the unredacted texts: match it with errors.Is and errors.As, and log
// the result itself.
func Error(err error, hidden ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	// The port on our side differs in every attempt; the same error would look like another.
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Source != nil {
		text = strings.Replace(text, e.Source.String()+"->", "", 1)
	}
	return &redacted{text: Text(text, append(quoted(err), hidden...)...), err: err}
}

type redacted struct {
	text string
	err  error
}

func (r *redacted) Error() string { return r.text }
func (r *redacted) Unwrap() error { return r.err }

// WithoutPath returns the text of a file system error without its paths, because the name of a
// delivered file can be the name of a participant.
func WithoutPath(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return Text(e.Op + ": " + e.Err.Error())
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return Text(e.Op + ": " + e.Err.Error())
	}
	return Text(err.Error())
}

// Key returns a name for an object in logs and error texts: its key, relative to the recording,
// unless the key contains the name of a participant or file.
func Key(key string) string {
	switch {
	case strings.HasSuffix(key, ".txt"):
		return "a text view"
	case strings.HasPrefix(key, textegress.FilesDir):
		return "a received file"
	}
	return key
}

// quotes matches the parts of a URL that net/url quotes in a parse error.
var quotes = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)

// quoted returns the secret parts of the URLs in the errors that err wraps.
func quoted(err error) []string {
	var hidden []string
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // every error of the tree is looked at
		u, parseErr := url.Parse(e.URL)
		switch {
		case parseErr != nil:
			hidden = append(hidden, e.URL)
			hidden = append(hidden, quotes.FindAllString(e.Err.Error(), -1)...)
		default:
			if u.User != nil {
				password, _ := u.User.Password()
				hidden = append(hidden, u.User.String(), u.User.Username(), password)
			}
			hidden = append(hidden, u.RawQuery, u.Fragment)
			for _, values := range u.Query() {
				hidden = append(hidden, values...)
			}
		}
	}
	switch e := err.(type) { //nolint:errorlint // see above
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			hidden = append(hidden, quoted(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			hidden = append(hidden, quoted(inner)...)
		}
	}
	return hidden
}

// forms match the forms of secrets. If a form has a group, only the group is hidden.
var forms = func() []*regexp.Regexp {
	const (
		// up to the end of a quoted string or a line of text
		word = `(?:\\.|[^\s"'<>\\])`
		name = `(?:secret|passw(?:or)?d|pwd|token|api[_-]?key|access[_-]?key|signature|` +
			`credential|authorization)`
	)
	var list []*regexp.Regexp
	for _, form := range []string{
		// A JWT begins with the base64 of a JSON object. A truncated one is hidden too.
		`eyJ[A-Za-z0-9_\-.=+/%]*`,
		`\b(?:AKIA|ASIA)[A-Z0-9]{8,}`,
		`(?s)-----BEGIN[A-Z ]*PRIVATE KEY-----.*`,
		`[A-Za-z][A-Za-z0-9+.\-]*://(` + word + `*)@`,                  // user information
		`[A-Za-z][A-Za-z0-9+.\-]*://` + word + `*?[?#](` + word + `*)`, // query, fragment
		`[?&#;][A-Za-z0-9_.~%\[\]\-]+=([^\s"'<>&#]*)`,
		`(?i)\b(?:bearer|basic|digest)[ :=]+([^\s"',;<>\]]+)`,
		`(?im)\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|` +
			`x-amz-security-token)["']?\s*[:=]\s*(.*)$`,
		`(?i)` + name + `[a-z0-9_\-]*\s*=\s*("(?:\\.|[^"\\])*"?|'[^']*'?|[^\s,;&"'<>]+)`,
		`(?i)` + name + `[a-z0-9_\-]*\\?"\s*:\s*\\?"((?:\\.|[^"\\])*)`, // JSON
		`(?i)<[a-z:]*` + name + `[a-z0-9]*(?:\s[^>]*)?>([^<]*)`,        // XML
	} {
		list = append(list, regexp.MustCompile(form))
	}
	return list
}()

// formSpans returns the spans of s that have the form of a secret.
func formSpans(s string) []span {
	var spans []span
	for _, form := range forms {
		for _, m := range form.FindAllStringSubmatchIndex(s, -1) {
			if len(m) == 2 {
				spans = append(spans, span{m[0], m[1]})
			} else {
				spans = append(spans, span{m[2], m[3]})
			}
		}
	}
	return spans
}

// span is a part of a text, from the first byte up to the one after the last.
type span struct{ from, to int }

// replace replaces each span with a mark. It merges spans that touch or overlap, so that no part of
// a value remains between two marks.
func replace(s string, spans []span) string {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	end := 0
	for i := 0; i < len(spans); {
		from, to := spans[i].from, spans[i].to
		for i++; i < len(spans) && spans[i].from <= to; i++ {
			to = max(to, spans[i].to)
		}
		if from == to {
			continue
		}
		b.WriteString(s[end:from])
		b.WriteString(Mark)
		end = to
	}
	b.WriteString(s[end:])
	return b.String()
}

// printable converts s to one line of printable characters.
func printable(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError, !unicode.IsPrint(r):
			r = '?'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
