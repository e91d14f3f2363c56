package livekit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/redact"
)

const (
	roomService   = "livekit.RoomService/"
	egressService = "livekit.Egress/"
	// noStore is part of the error message of a server without Redis for a list of recordings
	// (livekit-server, pkg/service/errors.go: "egress not connected (redis required)").
	noStore = "redis required"
)

// SingleNode reports whether the server at a URL keeps its rooms in memory only. Servers that share
// rooms store them in Redis, together with a list of recordings. A server without Redis answers
// ListEgress, the request that this function sends, with an error that Redis is required.
func (k Key) SingleNode(ctx context.Context, serverURL string) (bool, error) {
	rooms, err := NewRooms(serverURL, k)
	if err != nil {
		return false, err
	}
	defer rooms.http.CloseIdleConnections()
	token, err := k.recordToken()
	if err != nil {
		return false, err
	}
	target := strings.TrimSuffix(rooms.base, roomService) + egressService + "ListEgress"
	// The name of a room that does not exist keeps the answer short.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target,
		bytes.NewReader([]byte(`{"roomName":"`+projectProbe+`"}`)))
	if err != nil {
		return false, fmt.Errorf("LiveKit, ListEgress: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentJSON)
	resp, err := rooms.http.Do(req)
	if err != nil {
		return false, fmt.Errorf("LiveKit, ListEgress: %w", redact.Error(err, token, k.Secret))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode == http.StatusOK:
		return false, nil
	case resp.StatusCode == http.StatusUnauthorized:
		return false, fmt.Errorf("LiveKit, ListEgress: %w", ErrKeyRefused)
	case err != nil:
		return false, fmt.Errorf("LiveKit, ListEgress: read the answer: %w", err)
	case strings.Contains(reason(answer), noStore):
		return true, nil
	}
	return false, fmt.Errorf("LiveKit, ListEgress: HTTP status %d%s", resp.StatusCode,
		reason(answer))
}

// recordToken returns a token that may list recordings. LiveKit has no narrower permission.
func (k Key) recordToken() (string, error) {
	if k.ID == "" || k.Secret == "" {
		return "", errors.New("token: key and secret are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": k.ID, "nbf": now.Add(-backdated).Unix(), "exp": now.Add(backdated).Unix(),
		"video": map[string]any{"roomRecord": true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return signed, nil
}
