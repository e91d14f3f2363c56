package access

import (
	"html/template"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/syncflow/textegress/internal/web/problem"
)

// maxForm bounds the form of a login, in bytes.
const maxForm = 16 << 10

// loginPath is the path of the login page that leads back to next.
func loginPath(next string) string {
	if next = localPath(next); next == "/" {
		return "/login"
	}
	return "/login?" + url.Values{"next": {next}}.Encode()
}

// localPath returns next if it is a path of this server, otherwise "/".
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(next, "/login") {
		return "/"
	}
	return next
}

var form = template.Must(template.New("form").Parse(`
{{- if .Error}}
<p class="error" role="alert">{{.Error}}</p>
{{- end}}
{{- if .Possible}}
<form class="login" method="post" action="/login">
<input type="hidden" name="next" value="{{.Next}}">
<p><label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false"
 autofocus aria-describedby="name-help">
<small id="name-help">Empty for a token.</small></p>
<p><label for="password">Password or token</label>
<input id="password" name="password" type="password" autocomplete="current-password" required></p>
<p><button type="submit">Log in</button></p>
</form>
{{- end}}
`))

type formView struct {
	Error    string
	Possible bool // somebody can log in with a password or a token
	Next     string
}

func (d *Doors) writeLogin(w http.ResponseWriter, status int, problemText, next string) {
	d.mu.RLock()
	v := formView{Error: problemText, Possible: d.creds.any(), Next: localPath(next)}
	d.mu.RUnlock()
	text := "Names, texts and buttons need a login. On the machine of the service, " +
		"`textegress page` prints a link that logs in once."
	if !v.Possible {
		text += " For logins with a password set HTTP_USERS_FILE."
	}
	var b strings.Builder
	if err := form.Execute(&b, v); err != nil {
		b.Reset() // not possible: the template is part of the program
	}
	problem.Page(w, status, problem.View{
		Title: "Log in", Text: text,
		Form: template.HTML(b.String()), //nolint:gosec // of the template above, which escapes
		Home: !v.Possible,
	})
}

// showLogin shows the form, and takes a link.
func (d *Doors) showLogin(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("link")
	if id == "" || r.Method != http.MethodGet {
		d.writeLogin(w, http.StatusOK, "", r.URL.Query().Get("next"))
		return
	}
	source := d.source(r)
	if !d.limits.take(source) {
		refuseCredentials(w, r, errLimited)
		return
	}
	if !d.takeLink(id) {
		d.refused(source, linkName)
		d.writeLogin(w, http.StatusUnauthorized, "This link has been used, or is older than five "+
			"minutes. `textegress page` prints another.", "")
		return
	}
	d.limits.giveBack(source)
	d.mu.RLock()
	l := d.creds.link
	d.mu.RUnlock()
	d.begin(w, l)
	// Not a redirect: where another site led to the link, a browser sends the cookie only with a
	// request that begins on a page of this site.
	problem.Page(w, http.StatusOK, problem.View{Title: "Logged in", Next: "/"})
}

// login takes the form.
func (d *Doors) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		problem.Write(w, r, http.StatusBadRequest, "Not a login", "Send a form with name and "+
			"password, of at most 16 KiB.")
		return
	}
	name, password := strings.TrimSpace(r.PostForm.Get("name")), r.PostForm.Get("password")
	next := r.PostForm.Get("next")
	var l *login
	var err error
	if name == "" || name == tokenName {
		l, err = d.token(d.source(r), strings.TrimSpace(password))
	} else {
		l, err = d.password(r.Context(), d.source(r), name, password)
	}
	if err != nil {
		if !problem.IsBrowser(r) {
			refuseCredentials(w, r, err)
			return
		}
		f := refusalOf(err)
		if f.status != http.StatusUnauthorized {
			w.Header().Set("Retry-After", "30")
		}
		d.writeLogin(w, f.status, f.detail, next)
		return
	}
	d.endSession(w, r) // that of another login in the same browser
	d.begin(w, l)
	http.Redirect(w, r, localPath(next), http.StatusSeeOther)
}

func (d *Doors) logout(w http.ResponseWriter, r *http.Request) {
	d.endSession(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func portOf(a *net.TCPAddr) string { return strconv.Itoa(a.Port) }
