package livekit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/redact"
)

const (
	// requestTimeout bounds one request to the server.
	requestTimeout = 15 * time.Second
	// mostAnswer bounds the size of a response, which may contain the metadata of a room.
	mostAnswer = 1 << 20
)

// Rooms creates, finds and deletes rooms of a LiveKit server.
type Rooms struct {
	base string // …/twirp/livekit.RoomService/
	key  Key
	http *http.Client
}

// NewRooms returns a client for the rooms of the server at a URL (ws, wss, http or https). It does
// not connect.
func NewRooms(serverURL string, key Key) (*Rooms, error) {
	u, err := url.Parse(strings.TrimSpace(serverURL))
	if err != nil || u.Host == "" {
		return nil, errors.New("the LiveKit URL must begin with ws://, wss://, http:// or " +
			"https:// and name a host")
	}
	scheme, ok := map[string]string{
		"ws": "http", "http": "http", "wss": "https",
		"https": "https",
	}[strings.ToLower(u.Scheme)]
	if !ok {
		return nil, errors.New("the LiveKit URL must begin with ws://, wss://, http:// or https://")
	}
	base := url.URL{Scheme: scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/") +
		"/twirp/livekit.RoomService/"}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Rooms{base: base.String(), key: key, http: &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: requestTimeout,
		CheckRedirect: noRedirect,
	}}, nil
}

// Create creates a room. The server closes it when it has been empty for the given time.
func (r *Rooms) Create(ctx context.Context, room string, emptyTimeout time.Duration) error {
	_, err := r.call(ctx, "CreateRoom", map[string]any{
		"name":         room,
		"emptyTimeout": int(emptyTimeout.Seconds()), "departureTimeout": 1,
	})
	return err
}

// Delete deletes a room and disconnects its participants.
func (r *Rooms) Delete(ctx context.Context, room string) error {
	_, err := r.call(ctx, "DeleteRoom", map[string]any{"room": room})
	return err
}

// Exists reports whether the server has a room of that name.
func (r *Rooms) Exists(ctx context.Context, room string) (bool, error) {
	answer, err := r.call(ctx, "ListRooms", map[string]any{"names": []string{room}})
	if err != nil {
		return false, err
	}
	var list struct {
		Rooms []struct {
			Name string `json:"name"`
		} `json:"rooms"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return false, fmt.Errorf("LiveKit, ListRooms: the answer is not what LiveKit "+
			"sends (%d bytes)", len(answer))
	}
	for _, r := range list.Rooms {
		if r.Name == room {
			return true, nil
		}
	}
	return false, nil
}

// RoomExists reports whether the server at a URL has a room of that name.
func (k Key) RoomExists(ctx context.Context, serverURL, room string) (bool, error) {
	rooms, err := NewRooms(serverURL, k)
	if err != nil {
		return false, err
	}
	defer rooms.http.CloseIdleConnections()
	return rooms.Exists(ctx, room)
}

// call sends one request and returns the answer. Its error texts contain neither token nor key.
func (r *Rooms) call(ctx context.Context, method string, request any) ([]byte, error) {
	token, err := r.key.roomsToken()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+method,
		bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("LiveKit, %s: %w", method, redact.Error(err, token, r.key.Secret))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("LiveKit, %s: %w", method, ErrKeyRefused)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("LiveKit, %s: HTTP status %d%s", method, resp.StatusCode,
			reason(answer))
	case err != nil:
		return nil, fmt.Errorf("LiveKit, %s: read the answer: %w", method, err)
	}
	return answer, nil
}

// ErrKeyRefused means that the key is unknown to the server, or that the secret or a clock is
// wrong.
var ErrKeyRefused = errors.New("the server refuses the API key, its secret, or a token by this " +
	"machine's clock")

// reason returns the message of a twirp error, quoted and with a leading ": ", or "".
func reason(answer []byte) string {
	var e struct {
		Message string `json:"msg"`
	}
	if json.Unmarshal(answer, &e) != nil || e.Message == "" {
		return ""
	}
	return fmt.Sprintf(": %q", redact.Text(e.Message))
}

// roomsToken returns a token that may create, list and delete rooms, and nothing else.
func (k Key) roomsToken() (string, error) {
	if k.ID == "" || k.Secret == "" {
		return "", errors.New("rooms token: key and secret are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": k.ID, "nbf": now.Add(-backdated).Unix(), "exp": now.Add(backdated).Unix(),
		"video": map[string]any{"roomCreate": true, "roomList": true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("rooms token: %w", err)
	}
	return signed, nil
}
