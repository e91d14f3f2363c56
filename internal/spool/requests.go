package spool

import (
	"fmt"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// mostRequests bounds the ids in requests.json. The oldest are forgotten first.
const mostRequests = 1000

// requestsFile is the content of requests.json.
type requestsFile struct {
	RequestIDs []string `json:"request_ids"` // oldest first
}

// AddRequest stores the id of an API request that found this recording instead of starting one, so
// that a repeated request is recognised in every later state of the recording. When AddRequest
// returns nil, the id survives a power failure.
func (r *Recording) AddRequest(id string) error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), requestsName, ErrReadOnly)
	}
	current := r
	if c, ok := r.spool.Recording(r.ID()); ok {
		current = c // Correct has replaced r
	}
	if current.Requested(id) {
		return nil
	}
	ids := append(current.addedRequests(), id)
	ids = ids[max(0, len(ids)-mostRequests):]
	data, err := encodeState(requestsFile{ids})
	if err != nil {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), requestsName, err)
	}
	write := func() error {
		return durable.ReplaceFile(r.spool.fs, "requests", r.path(requestsName), data)
	}
	if err := r.spool.disk.WithBallast(write); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	for _, rec := range []*Recording{r, current} {
		rec.mu.Lock()
		rec.requests = ids
		rec.mu.Unlock()
	}
	return nil
}

// Requested reports whether the API request with the given id started this recording, or found it.
func (r *Recording) Requested(id string) bool {
	if r.info.RequestID == id {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.requests, id)
}

func (r *Recording) addedRequests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// loadRequests reads requests.json. A damaged file is ignored.
func (r *Recording) loadRequests() error {
	b, err := r.spool.fs.ReadFile("load", r.path(requestsName))
	if err != nil {
		return err
	}
	var f requestsFile
	if err := textegress.DecodeJSON(b, &f); err != nil {
		r.spool.log.Error("damaged state file, it is ignored: a repeated API request counts as a "+
			"new one", "path", r.path(requestsName), "error", err)
		return nil
	}
	r.requests = f.RequestIDs
	return nil
}
