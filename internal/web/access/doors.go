package access

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/syncflow/textegress/internal/web/problem"
)

// Options of [New].
type Options struct {
	// Certificates: the server uses TLS with them; nil: it does not.
	Certificates *Certificates
	// BehindProxy: a proxy with TLS passes the requests on. Its address stands for everybody, so
	// that loopback needs a login too.
	BehindProxy bool
	PageURL     string // the address under which people reach the page; "" = the one listened at
	Logger      *slog.Logger
}

// Doors decide who may see and do what. They are closed until [Doors.At].
type Doors struct {
	o      Options
	log    *slog.Logger
	origin *http.CrossOriginProtection
	limits *limiter
	checks *checker
	base   context.Context // of all logins
	end    context.CancelFunc

	mu       sync.RWMutex // guards the rest
	place    place
	creds    credentials
	sessions map[digest]*session
	links    map[digest]link
}

// place is where the server listens.
type place struct {
	listening bool
	loopback  bool
	url       string // of the page
}

// New returns doors without users or token; see [Doors.Load].
func New(o Options) *Doors {
	d := &Doors{
		o: o, log: o.Logger, origin: http.NewCrossOriginProtection(), limits: newLimiter(),
		checks: newChecker(), sessions: map[digest]*session{}, links: map[digest]link{},
	}
	d.base, d.end = context.WithCancel(context.Background())
	d.creds.link = d.principal(linkName, nil)
	if u, err := url.Parse(o.PageURL); err == nil && u.Host != "" {
		// It fails only for what is no origin.
		_ = d.origin.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	return d
}

// Close ends all logins.
func (d *Doors) Close() { d.end() }

// At tells the doors where the server listens; configured is the value of HTTP_ADDR.
func (d *Doors) At(listening net.Addr, configured string) {
	tcp, ok := listening.(*net.TCPAddr)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.place = place{
		listening: true, loopback: ok && tcp.IP.IsLoopback(),
		url: pageURL(d.o, listening, configured),
	}
}

// ClosedReason says why page, API and status are not served, "" if they are.
func (d *Doors) ClosedReason() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	secure := d.o.Certificates != nil || d.o.BehindProxy
	switch {
	case !d.place.listening:
		return "The service is starting."
	case d.o.Certificates != nil && d.o.Certificates.Problem() != nil:
		return "The certificate cannot be used: correct HTTP_TLS_CERT_FILE and " +
			"HTTP_TLS_KEY_FILE, then send SIGHUP. The log of the service says what is wrong."
	case !d.place.loopback && !secure:
		return "HTTP_ADDR is not on loopback, and there is no TLS. Set HTTP_TLS_CERT_FILE and " +
			"HTTP_TLS_KEY_FILE, or HTTP_BEHIND_PROXY=true if a proxy with TLS passes all " +
			"requests on; and HTTP_USERS_FILE or HTTP_BEARER_TOKEN_FILE."
	case d.loginNeeded() && d.creds.problem:
		return "The logins cannot be read: correct the files of HTTP_USERS_FILE and " +
			"HTTP_BEARER_TOKEN_FILE, then send SIGHUP. The log of the service says what is wrong."
	case d.loginNeeded() && !d.creds.any():
		return "Nobody can log in. Set HTTP_USERS_FILE or HTTP_BEARER_TOKEN_FILE: off loopback, " +
			"and behind a proxy, everything but health and metrics needs a login."
	}
	return ""
}

// PageURL is the address of the page for people.
func (d *Doors) PageURL() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.place.url
}

// loginNeeded reports whether even sessions and counts need a login. d.mu is held.
func (d *Doors) loginNeeded() bool { return !d.place.loopback || d.o.BehindProxy }

// Wrap serves /login and /logout, and everything else by next, with the rights of the request in
// its context. It refuses requests without a login where one is needed, and requests from pages of
// other origins that could change something.
func (d *Doors) Wrap(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", d.showLogin)
	mux.HandleFunc("POST /login", d.login)
	mux.HandleFunc("POST /logout", d.logout)
	mux.Handle("/", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if reason := d.ClosedReason(); reason != "" {
			problem.Write(w, r, http.StatusForbidden, "Not served here", reason)
			return
		}
		if reason := d.foreign(r); reason != "" {
			problem.Write(w, r, http.StatusForbidden, "From another page", reason)
			return
		}
		p, err := d.identify(r)
		if err != nil {
			refuseCredentials(w, r, err)
			return
		}
		d.mu.RLock()
		needed := (d.loginNeeded() || viaProxy(r)) && !isOpen(r.URL.Path)
		d.mu.RUnlock()
		if p == nil {
			if needed {
				refuseLogin(w, r)
				return
			}
			mux.ServeHTTP(w, r)
			return
		}
		// A request ends with the login that it came with: a stream can last for hours.
		ctx, cancel := context.WithCancel(NewContext(r.Context(), d.rights(p)))
		defer cancel()
		defer context.AfterFunc(p.ctx, cancel)()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// viaProxy reports whether a proxy has passed a request on: on loopback too, it can then come from
// anywhere. Not every proxy says so, hence HTTP_BEHIND_PROXY.
func viaProxy(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// isOpen reports whether a path is served without a login wherever the doors are open.
func isOpen(path string) bool {
	return path == "/login" || path == "/logout" || strings.HasPrefix(path, "/static/")
}

// foreign says why a request that could change something may have been made by a page of another
// origin, "" if it was not.
func (d *Doors) foreign(r *http.Request) string {
	if err := d.origin.Check(r); err != nil {
		return "A page of another origin sent this request. If a proxy changes the Host header, " +
			"set PAGE_URL to the address of the page."
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return ""
	}
	if _, err := r.Cookie(d.cookieName()); err == nil && r.Header.Get("Authorization") == "" &&
		r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return "A request with a cookie must say where it comes from, as browsers do: its Origin " +
			"header is missing. Programs send `Authorization: Bearer`."
	}
	return ""
}

// identify returns whose login a request has: nil without one.
func (d *Doors) identify(r *http.Request) (*login, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, rest, _ := strings.Cut(header, " ")
		switch user, password, basic := r.BasicAuth(); {
		case basic && user != tokenName:
			return d.password(r.Context(), d.source(r), user, password)
		case basic:
			return d.token(d.source(r), password)
		case strings.EqualFold(scheme, "Bearer"):
			return d.token(d.source(r), strings.TrimSpace(rest))
		}
		return nil, errWrong
	}
	if cookie, err := r.Cookie(d.cookieName()); err == nil {
		return d.session(cookie.Value), nil
	}
	return nil, nil
}

func (d *Doors) rights(l *login) Rights {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return Rights{Read: true, Act: d.creds.mayAct(l.name), Operator: l.name}
}

// source is what attempts are counted by: the address of the client.
func (d *Doors) source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if d.o.BehindProxy {
		// The last entry is the one that the proxy has added.
		list := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
		if last := strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:]); last != "" {
			host = last
		}
	}
	return network(host)
}

// refuseCredentials answers a request whose credentials are of no use.
func refuseCredentials(w http.ResponseWriter, r *http.Request, err error) {
	f := refusalOf(err)
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="textegress", error="invalid_token"`)
	} else {
		w.Header().Set("Retry-After", "30")
	}
	problem.Write(w, r, f.status, f.title, f.detail)
}

// refusal is why credentials are refused, in words for the client.
type refusal struct {
	status        int
	title, detail string
}

func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, errLimited):
		return refusal{
			http.StatusTooManyRequests, "Too many attempts",
			"Too many attempts have failed. Wait for a minute, then try again.",
		}
	case errors.Is(err, errBusy):
		return refusal{
			http.StatusServiceUnavailable, "Too many logins at once",
			"Other logins are being checked. Try again in a moment.",
		}
	}
	return refusal{
		http.StatusUnauthorized, "Login refused", "Name or password is wrong, or the token.",
	}
}

// pageURL is the address of the page for people.
func pageURL(o Options, listening net.Addr, configured string) string {
	if o.PageURL != "" {
		return strings.TrimRight(o.PageURL, "/")
	}
	scheme := "http"
	if o.Certificates != nil {
		scheme = "https"
	}
	host, _, _ := net.SplitHostPort(configured)
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return scheme + "://" + configured
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = hostname()
	}
	return (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, portOf(tcp))}).String()
}
