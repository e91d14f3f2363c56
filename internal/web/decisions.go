package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// StopRequest ends a recording.
type StopRequest struct {
	// ID is an egress id, or the id of a session.
	ID string `json:"id"`
}

// ExcludeRequest asks that a participant is not recorded any more, or again.
type ExcludeRequest struct {
	// Identity is the participant's; in a project under pseudonyms, the pseudonym will do.
	Identity string `json:"identity"`
	// SessionID limits the request to a session; an egress id will do. Empty: all sessions of the
	// project, also later ones.
	SessionID string `json:"session_id,omitempty"`
	// Project is the id of the project; empty: all projects, or that of the session.
	Project string `json:"project,omitempty"`
	// Undo ends the exclusion.
	Undo bool `json:"undo,omitempty"`
}

// ExcludeAnswer says what a request has changed.
type ExcludeAnswer struct {
	Projects int `json:"projects"` // number of projects that it concerns
	// Present is the number of sessions under way in which the participant had been seen. If it is
	// 0, the identity may be misspelt.
	Present int `json:"present"`
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	var req StopRequest
	err := decodeRequest(w, r, &req)
	if err == nil && req.ID == "" {
		err = errors.New("id is missing")
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("malformed request: %w", err))
		return
	}
	id, err := s.service.StopRecording(r.Context(), req.ID)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.writeJSON(w, http.StatusOK, recordResponse{EgressID: id})
}

func (s *Server) exclude(w http.ResponseWriter, r *http.Request) {
	var req ExcludeRequest
	err := decodeRequest(w, r, &req)
	if err == nil && req.Identity == "" {
		err = errors.New("identity is missing")
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("malformed request: %w", err))
		return
	}
	answer, err := s.service.Exclude(r.Context(), req)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.writeJSON(w, http.StatusOK, answer)
}

func decodeRequest(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// Stop ends a recording, and returns its egress id. id is an egress id, or the id of a session.
func (c *ControlClient) Stop(ctx context.Context, id string) (egressID string, err error) {
	var resp recordResponse
	if err := c.post(ctx, "/stop", StopRequest{ID: id}, &resp); err != nil {
		return "", err
	}
	return resp.EgressID, nil
}

// Exclude excludes a participant from what is recorded.
func (c *ControlClient) Exclude(ctx context.Context, q ExcludeRequest) (ExcludeAnswer, error) {
	var answer ExcludeAnswer
	err := c.post(ctx, "/exclude", q, &answer)
	return answer, err
}

func (c *ControlClient) post(ctx context.Context, path string, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, body, into)
}
