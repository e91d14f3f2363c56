package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// RehearsalStep is one step of a test recording. docs/OPERATIONS.md explains the steps.
type RehearsalStep struct {
	Name   string  `json:"name"`
	Result string  `json:"result"` // "ok", "failed" or [NotTried]
	Detail string  `json:"detail"`
	TookMS float64 `json:"took_ms"`
}

// NotTried is the result of a step that the platform does not allow.
const NotTried = "not_tried"

type rehearseRequest struct {
	Project string `json:"project,omitempty"`
}

// rehearseLine is a line of the response: a step or, in the last line, the error or its absence.
type rehearseLine struct {
	Step  *RehearsalStep `json:"step,omitempty"`
	Done  bool           `json:"done,omitempty"`
	Error string         `json:"error,omitempty"`
}

// rehearse responds with JSON lines: each step as it ends, then the result.
func (s *Server) rehearse(w http.ResponseWriter, r *http.Request) {
	var req rehearseRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("malformed request: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	write := func(line rehearseLine) {
		if err := enc.Encode(line); err != nil {
			s.logger.Debug("cannot write a response", "error", err)
		}
		_ = http.NewResponseController(w).Flush()
	}
	last := rehearseLine{Done: true}
	err := s.service.Rehearse(r.Context(), req.Project, func(step RehearsalStep) {
		write(rehearseLine{Step: &step})
	})
	if err != nil {
		last.Error = err.Error()
	}
	write(last)
}

// Rehearse makes a test recording in a project of the running service, and reports each step as it
// ends. If project is empty, the service uses its only project.
func (c *ControlClient) Rehearse(ctx context.Context, project string,
	report func(RehearsalStep),
) error {
	body, err := json.Marshal(rehearseRequest{Project: project})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/rehearse",
		bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the service: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line rehearseLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("decode the service's answer: %w", err)
		}
		switch {
		case line.Step != nil:
			report(*line.Step)
		case line.Error != "":
			return errors.New(line.Error)
		case line.Done:
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the service's answer: %w", err)
	}
	return errors.New("the service ended before the rehearsal did; the recording that it made is " +
		"delivered by the next start")
}
