package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/twitchtv/twirp"

	lk "github.com/syncflow/textegress/internal/livekit"
)

// caller is the sender of a request, according to its token.
type caller struct {
	projects []string // ids
	room     string   // "": all rooms
}

// mayUse reports whether the caller's token permits access to a room.
func (c caller) mayUse(room string) bool { return c.room == "" || c.room == room }

type callerKey struct{}

// callerOf returns the caller of a request that ServeHTTP has authorized.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// ServeHTTP serves /twirp/textegress.DataEgress/ and /twirp/livekit.Egress/.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service := a.services[r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1]]
	if service == nil || r.Method != http.MethodPost {
		a.refuse(w, twirp.NewError(twirp.BadRoute, "no such method; the services are POST "+
			"/twirp/textegress.DataEgress/… and /twirp/livekit.Egress/…"))
		return
	}
	c, err := a.authorize(r.Header.Get("Authorization"))
	if err != nil {
		a.refuse(w, err)
		return
	}
	// The Twirp services do not limit the size of a body.
	body, err := readBody(w, r)
	if err != nil {
		a.refuse(w, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
	r.Body = io.NopCloser(bytes.NewReader(body))
	service.ServeHTTP(w, r)
}

// readBody reads a body of at most MaxRequest bytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := twirp.NewError(twirp.InvalidArgument,
		fmt.Sprintf("the request has more than %d bytes", MaxRequest))
	if r.ContentLength > MaxRequest {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, twirp.NewError(twirp.Malformed, "the request did not arrive completely")
	}
	return body, nil
}

// authorize returns the caller that an Authorization header identifies. The error is a twirp error.
func (a *API) authorize(header string) (caller, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(header), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return caller{}, twirp.NewError(twirp.Unauthenticated, "the request needs the header "+
			"Authorization: Bearer with a LiveKit access token")
	}
	id, err := lk.TokenKey(token)
	if err != nil {
		return caller{}, twirp.NewError(twirp.Unauthenticated, err.Error())
	}
	var (
		c      caller
		access lk.Access
		why    = fmt.Errorf("%w: no project has its key", lk.ErrAccess)
	)
	for _, p := range a.projects() {
		if p.Key.ID != id {
			continue
		}
		got, err := p.Key.Access(token)
		if err != nil {
			why = err
			continue
		}
		access = got
		if !slices.Contains(c.projects, p.ID) {
			c.projects = append(c.projects, p.ID)
		}
	}
	switch {
	case len(c.projects) == 0:
		return caller{}, twirp.NewError(twirp.Unauthenticated, why.Error())
	case !access.Record:
		return caller{}, twirp.NewError(twirp.PermissionDenied,
			"the access token lacks the grant roomRecord")
	}
	c.room = access.Room
	return c, nil
}

// refuse answers with a twirp error.
func (a *API) refuse(w http.ResponseWriter, err error) {
	var e twirp.Error
	if errors.As(err, &e) && e.Code() == twirp.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if err := twirp.WriteError(w, err); err != nil {
		a.log.Debug("cannot write a response", "error", err)
	}
}
