package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/notify"
)

// pushLines gives webhooks the lines of recordings. It implements [notify.Lines].
type pushLines struct{ hub *follow.Hub }

// Follow implements [notify.Lines].
func (p pushLines) Follow(egressID string, from int64) (notify.Reader, error) {
	r, err := p.hub.Follow(egressID, from)
	if err != nil {
		return nil, pushError(err)
	}
	return pushReader{r}, nil
}

// pushReader adapts a [follow.Reader].
type pushReader struct{ *follow.Reader }

// Next implements [notify.Reader].
func (p pushReader) Next(ctx context.Context) (notify.Line, error) {
	l, err := p.Reader.Next(ctx)
	return notify.Line{N: l.N, JSON: l.JSON, Kind: l.Kind, Topic: l.Topic}, pushError(err)
}

// pushError returns the error as the notifier distinguishes it.
func pushError(err error) error {
	if errors.Is(err, follow.ErrGone) || errors.Is(err, follow.ErrUnknown) {
		return fmt.Errorf("%w: %w", notify.ErrGone, err)
	}
	return err
}
