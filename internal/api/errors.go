package api

import (
	"context"
	"errors"

	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress/internal/redact"
)

// Errors that a [Service] returns. The text of an error that wraps one of them is the answer to the
// caller, so it states what to do and contains no secret and no identity.
var (
	ErrUnknown = errors.New("no such recording")
	ErrNoRoom  = errors.New("the room does not exist")
	ErrInvalid = errors.New("invalid request")
	// ErrRefused means that the state of the service or the room forbids the request, and that a
	// retry is refused as well.
	ErrRefused = errors.New("refused")
	// ErrLater means that a retry may succeed.
	ErrLater = errors.New("not possible at the moment")
)

// RecordedError means that the room is being recorded already, or that another request had the same
// request id.
type RecordedError struct {
	EgressID string // the existing recording
	Reason   string // a clause without a full stop
}

// Error implements [error].
func (e *RecordedError) Error() string { return e.Reason + ": " + e.EgressID }

// answer converts an error of the service, or of this package, to an answer.
func (a *API) answer(ctx context.Context, method string, err error) error {
	var (
		already *RecordedError
		given   twirp.Error
		code    twirp.ErrorCode
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &given):
		return given
	case errors.As(err, &already):
		return twirp.NewError(twirp.AlreadyExists, redact.Text(already.Error())).
			WithMeta("egress_id", already.EgressID)
	case errors.Is(err, ErrUnknown):
		code = twirp.NotFound
	case errors.Is(err, ErrInvalid):
		code = twirp.InvalidArgument
	case errors.Is(err, ErrNoRoom), errors.Is(err, ErrRefused):
		code = twirp.FailedPrecondition
	case errors.Is(err, ErrLater):
		code = twirp.Unavailable
	case errors.Is(context.Cause(ctx), context.Canceled):
		return twirp.NewError(twirp.Canceled, "the caller ended the request")
	case errors.Is(err, context.DeadlineExceeded):
		return twirp.NewError(twirp.Unavailable, "the request took too long; repeat it")
	default:
		a.log.Error("a request to the API failed", "method", method, "error", err)
		return twirp.NewError(twirp.Internal,
			"the request failed; the log of textegress says why")
	}
	return twirp.NewError(code, redact.Text(err.Error()))
}
