package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// settleEvery is how often removals that could not be finished are tried again.
const settleEvery = time.Minute

// settle finishes removals of participants that were begun, and looks again at what was found
// unusable, until ctx ends.
func (a *App) settle(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		a.forgetter.Settle(ctx)
		checkUnusable(a.all())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Forget implements [web.Service].
func (a *App) Forget(ctx context.Context, request []byte) ([]byte, error) {
	var q erasure.Request
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("malformed request: %w", err)
	}
	answer, err := a.forgetter.Forget(ctx, q)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return b, nil
}

// Forget removes a participant from the recordings in the data directory, on which no service runs.
func Forget(ctx context.Context, c *config.Config, logger *slog.Logger,
	q erasure.Request,
) (_ erasure.Answer, err error) {
	sp, err := spool.Open(c.DataDir, spool.Options{
		SyncInterval: c.SyncInterval,
		DiskMinFree:  c.DiskMinFree, Logger: logger,
	})
	if err != nil {
		return erasure.Answer{}, fmt.Errorf("open DATA_DIR: %w", err)
	}
	defer func() {
		if cerr := sp.Close(); err == nil {
			err = cerr
		}
	}()
	bucketFor := func(projectID string) (objstore.Bucket, error) {
		for _, p := range c.Projects {
			if p.ProjectID == projectID {
				return Bucket(p)
			}
		}
		return nil, fmt.Errorf("project %s is not in the configuration, so there is no access "+
			"to its bucket", projectID)
	}
	keysFor := func(projectID string) *render.Keys {
		for _, p := range c.Projects {
			if p.ProjectID == projectID {
				keys, err := Keys(p)
				if err != nil {
					logger.Error("encrypted packets of a project are delivered as they are: its "+
						"key is not understood", "project", p.Index, "error", err)
				}
				return keys
			}
		}
		return nil
	}
	names := pseudonym.Open(c.DataDir)
	f := erasure.New(erasure.Options{
		Spool: sp, BucketFor: bucketFor, KeysFor: keysFor, PseudonymsFor: PseudonymsFor(names),
		ForgetPseudonym: names.Forget, Logger: logger,
		KeepFree: c.DiskMinFree / 4,
		Dispatcher: delivery.New(delivery.Options{
			Spool: sp, Projects: deliveryProjects{bucketFor, keysFor, PseudonymsFor(names)},
			Retention: c.Retention, Logger: logger,
		}),
	})
	return f.Forget(ctx, q)
}
