package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Bounds of logins with a cookie, and of links.
const (
	sessionAge  = 12 * time.Hour
	maxSessions = 1024
	linkAge     = 5 * time.Minute
	maxLinks    = 64
)

// session is a login with a cookie, identified by the SHA-256 of a random id, so that looking it
// up tells nothing about the ids of others.
type session struct {
	login
	since time.Time
}

// link is a login that waits to be taken, once.
type link struct{ until time.Time }

func (d *Doors) cookieName() string {
	if d.secure() {
		return "__Host-textegress" // browsers then insist on Secure and on this host
	}
	return "textegress"
}

func (d *Doors) secure() bool { return d.o.Certificates != nil || d.o.BehindProxy }

// begin sets the cookie of a new session of l.
func (d *Doors) begin(w http.ResponseWriter, l *login) {
	id := rand.Text()
	s := &session{login: login{name: l.name}, since: time.Now()}
	s.ctx, s.cancel = context.WithTimeout(l.ctx, sessionAge)
	d.mu.Lock()
	for key, old := range d.sessions {
		if old.ctx.Err() != nil {
			delete(d.sessions, key)
		}
	}
	if len(d.sessions) >= maxSessions {
		d.dropOldest()
	}
	d.sessions[sha256.Sum256([]byte(id))] = s
	d.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(), Value: id, Path: "/", MaxAge: int(sessionAge.Seconds()),
		HttpOnly: true, Secure: d.secure(), SameSite: http.SameSiteStrictMode,
	})
	d.log.Info("operator", "action", "login", "operator", l.name)
}

// dropOldest ends the session that is the oldest. d.mu is held.
func (d *Doors) dropOldest() {
	var oldest digest
	var found *session
	for key, s := range d.sessions {
		if found == nil || s.since.Before(found.since) {
			oldest, found = key, s
		}
	}
	if found != nil {
		found.cancel()
		delete(d.sessions, oldest)
	}
}

// session returns the login of a cookie, nil if there is none.
func (d *Doors) session(id string) *login {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := d.sessions[sha256.Sum256([]byte(id))]
	if s == nil || s.ctx.Err() != nil {
		return nil
	}
	return &s.login
}

// endSession ends the session of a request, if it has one.
func (d *Doors) endSession(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(d.cookieName())
	if err != nil {
		return
	}
	key := sha256.Sum256([]byte(cookie.Value))
	d.mu.Lock()
	s := d.sessions[key]
	delete(d.sessions, key)
	d.mu.Unlock()
	if s != nil {
		s.cancel()
		d.log.Info("operator", "action", "logout", "operator", s.name)
	}
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: d.secure(),
		SameSite: http.SameSiteStrictMode,
	})
}

// Link returns the address of the page with a token that logs in once, within five minutes. It is
// for whoever may open the control socket.
func (d *Doors) Link() (string, error) {
	if reason := d.ClosedReason(); reason != "" {
		return "", errors.New("the page is not served. " + reason)
	}
	id, now := rand.Text(), time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, l := range d.links {
		if now.After(l.until) {
			delete(d.links, key)
		}
	}
	if len(d.links) >= maxLinks {
		return "", errors.New("too many links are waiting to be opened; open one of them, or " +
			"wait for five minutes")
	}
	d.links[sha256.Sum256([]byte(id))] = link{until: now.Add(linkAge)}
	return d.place.url + "/login?" + url.Values{"link": {id}}.Encode(), nil
}

// takeLink reports whether a link is good, and uses it up.
func (d *Doors) takeLink(id string) bool {
	key := sha256.Sum256([]byte(id))
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.links[key]
	delete(d.links, key)
	return ok && time.Now().Before(l.until)
}
