// Package api serves the Twirp services textegress.DataEgress and livekit.Egress (ListEgress and
// StopEgress only) over HTTP. It accesses recordings through [Service], and authorizes requests: a
// caller sees the recordings of the projects whose key signed the access token, or only those of
// one room if the token names a room.
//
// The guarantee: a request without a valid token causes no work and reads no body, and no request
// occupies more than [MaxRequest] bytes.
package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/dataegress"
	lk "github.com/syncflow/textegress/internal/livekit"
)

// MaxRequest bounds the body of a request, in bytes.
const MaxRequest = 1 << 20

// Service starts, stops and lists recordings. The composition root implements it. Methods may be
// called at any time and from any goroutine. The text of an error that wraps one of the errors of
// this package, or of a [*RecordedError], is returned to the caller; any other error is logged, and
// the caller receives a general error.
//
// Figures and states that it returns are durable.
type Service interface {
	// Start records a room that exists. It returns when the intent to record is durable. A repeated
	// request with the same id returns the same recording. Errors: [ErrNoRoom], [ErrInvalid],
	// [ErrRefused], [ErrLater], [*RecordedError].
	Start(ctx context.Context, projectID string, s Start) (*livekit.EgressInfo, error)
	// Stop ends a recording, or the one that continues it if it has ended. It returns when the
	// decision is durable, with the new state of the recording of that id. It may be repeated.
	// Errors: [ErrUnknown], [ErrLater].
	Stop(ctx context.Context, projectID, egressID string) (*livekit.EgressInfo, error)
	// List describes the recordings that f selects, in no particular order. It may return other
	// recordings as well.
	List(ctx context.Context, projectID string, f Filter) ([]*livekit.EgressInfo, error)
	// Statement sums up the completeness statement. Errors: [ErrUnknown], [ErrLater].
	Statement(ctx context.Context, projectID, egressID string) (*dataegress.Statement, error)
}

// Start is a request to record a room. Its strings are valid UTF-8.
type Start struct {
	Room         string
	Topics       []string // in the form of TOPICS_ALLOW; empty: all
	Participants []string // in the form of IDENTITIES_ALLOW; empty: everybody
	// Prefix is a relative path without components that are empty, "." or ".."; "": the default.
	Prefix    string
	Webhooks  []string // http and https URLs; the hosts are not checked
	RequestID string   // "": the request is not idempotent
}

// Filter selects recordings; the zero value selects all.
type Filter struct {
	Room     string
	EgressID string
	Active   bool // only STARTING, ACTIVE and ENDING
}

// matches reports whether a recording is selected.
func (f Filter) matches(e *livekit.EgressInfo) bool {
	return (f.Room == "" || e.GetRoomName() == f.Room) &&
		(f.EgressID == "" || e.GetEgressId() == f.EgressID) &&
		(!f.Active || !ended(e))
}

// ended reports whether a status is final.
func ended(e *livekit.EgressInfo) bool {
	return e.GetStatus() >= livekit.EgressStatus_EGRESS_COMPLETE
}

// Project is one project that has a LiveKit key.
type Project struct {
	ID  string
	Key lk.Key
}

// Options of [New]. All are required.
type Options struct {
	Service Service
	// Projects returns the configured projects that have a LiveKit key. It is called for every
	// request, so that reloaded keys take effect.
	Projects func() []Project
	Logger   *slog.Logger
}

// API is the handler of both services.
type API struct {
	service  Service
	projects func() []Project
	log      *slog.Logger
	services map[string]http.Handler // by path prefix
	waiting  chan struct{}           // one element per request that waits for its room
}

// New returns an API. It starts nothing.
func New(o Options) *API {
	a := &API{
		service: o.Service, projects: o.Projects, log: o.Logger,
		waiting: make(chan struct{}, maxWaiting),
	}
	a.services = map[string]http.Handler{}
	for _, s := range []interface {
		http.Handler
		PathPrefix() string
	}{
		dataegress.NewDataEgressServer(dataEgress{a}),
		livekit.NewEgressServer(egress{a}),
	} {
		a.services[s.PathPrefix()] = s
	}
	return a
}
