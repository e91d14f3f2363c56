package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/erasure"
)

// settleEvery is how often unfinished erasures are retried.
const settleEvery = time.Minute

// settle finishes interrupted erasures and checks unusable directories again, until ctx ends.
func (a *App) settle(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		a.eraser.Resume(ctx)
		checkUnusable(a.snapshotProjects())
		a.retryBuckets()
		a.overviewDisk(time.Now())
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
	answer, err := a.eraser.Erase(ctx, q)
	a.overview.timelines.clear()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return b, nil
}
