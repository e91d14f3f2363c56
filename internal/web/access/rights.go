// Package access decides who may see and do what over HTTP: it checks credentials, keeps logins,
// and puts the rights of a request into its context.
//
// Without a login, a request on loopback sees sessions, states and counts. The names of
// participants, texts and buttons need a login, or the link that `textegress page` prints. On any
// other address everything needs a login. docs/ACCESS.md describes the rules for operators.
package access

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/syncflow/textegress/internal/web/problem"
)

// Rights are what a request may see and do. The zero value stands for a request on loopback without
// a login: it may see sessions, states and counts.
type Rights struct {
	Read     bool   // names of participants, and texts where LIVE_TEXT allows them
	Act      bool   // stop, record and exclude; includes Read
	Operator string // who it is, for the log: a user, "token" or "link"; "" without a login
}

type rightsKey struct{}

// NewContext returns a context with rights.
func NewContext(ctx context.Context, r Rights) context.Context {
	return context.WithValue(ctx, rightsKey{}, r)
}

// FromContext returns the rights of a request, the zero value if nobody has checked them.
func FromContext(ctx context.Context) Rights {
	r, _ := ctx.Value(rightsKey{}).(Rights)
	return r
}

// RequireRead serves only requests that may read names and texts.
func RequireRead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !FromContext(r.Context()).Read {
			Refuse(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireAct serves only requests that may act.
func RequireAct(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !FromContext(r.Context()).Act {
			Refuse(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse answers a request that lacks a right: 401 without a login, 403 with one.
func Refuse(w http.ResponseWriter, r *http.Request) {
	if FromContext(r.Context()).Operator == "" {
		refuseLogin(w, r)
		return
	}
	problem.Write(w, r, http.StatusForbidden, "Not allowed",
		"This login may look, but not act. HTTP_OPERATORS lists who may.")
}

// refuseLogin answers a request that needs a login: a browser goes to the login page.
func refuseLogin(w http.ResponseWriter, r *http.Request) {
	if problem.IsBrowser(r) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		http.Redirect(w, r, loginPath(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="textegress"`)
	problem.Write(w, r, http.StatusUnauthorized, "Login needed",
		"Log in at /login, open the link that `textegress page` prints, or send "+
			"`Authorization: Bearer` with the token of HTTP_BEARER_TOKEN_FILE.")
}

// Log logs what an operator does or sees: "stop", "record", "exclude", "text". id is an egress id
// or a session id. Participants are never logged.
func Log(ctx context.Context, log *slog.Logger, action, id string) {
	log.Info("operator", "action", action, "operator", FromContext(ctx).Operator, "id", id)
}
