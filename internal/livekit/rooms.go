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
)

const (
	// requestTimeout bounds one request to the server.
	requestTimeout = 15 * time.Second
	// mostAnswer bounds what is read of an answer.
	mostAnswer = 64 << 10
)

// Rooms makes and deletes rooms of a LiveKit server.
type Rooms struct {
	base string // …/twirp/livekit.RoomService/
	key  Key
	http *http.Client
}

// NewRooms returns the rooms of the server at a URL (ws, wss, http or https). It does not connect.
func NewRooms(serverURL string, key Key) (*Rooms, error) {
	u, err := url.Parse(strings.TrimSpace(serverURL))
	if err != nil || u.Host == "" {
		return nil, errors.New("the LiveKit URL must begin with ws://, wss://, http:// or https:// and name a host")
	}
	scheme, ok := map[string]string{"ws": "http", "http": "http", "wss": "https", "https": "https"}[strings.ToLower(u.Scheme)]
	if !ok {
		return nil, errors.New("the LiveKit URL must begin with ws://, wss://, http:// or https://")
	}
	base := url.URL{Scheme: scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/") + "/twirp/livekit.RoomService/"}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Rooms{base: base.String(), key: key, http: &http.Client{Timeout: requestTimeout, CheckRedirect: noRedirect}}, nil
}

// Create makes a room, which closes by itself when nobody has been in it for the given time.
func (r *Rooms) Create(ctx context.Context, room string, emptyTimeout time.Duration) error {
	return r.call(ctx, "CreateRoom", map[string]any{"name": room, "emptyTimeout": int(emptyTimeout.Seconds()), "departureTimeout": 1})
}

// Delete deletes a room. Whoever is in it is disconnected.
func (r *Rooms) Delete(ctx context.Context, room string) error {
	return r.call(ctx, "DeleteRoom", map[string]any{"room": room})
}

// call sends one request. The texts of its errors hold neither token nor key.
func (r *Rooms) call(ctx context.Context, method string, request any) error {
	token, err := r.key.roomsToken()
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+method, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("LiveKit, %s: %w", method, ErrKeyRefused)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("LiveKit, %s: HTTP status %d%s", method, resp.StatusCode, reason(answer))
	case err != nil:
		return fmt.Errorf("LiveKit, %s: read the answer: %w", method, err)
	}
	return nil
}

// ErrKeyRefused says that the server does not know the key, or that the secret is another one.
var ErrKeyRefused = errors.New("the server refuses the API key, its secret, or a token by this machine's clock")

// reason is what a twirp error says, in front of it ": ".
func reason(answer []byte) string {
	var e struct {
		Message string `json:"msg"`
	}
	if json.Unmarshal(answer, &e) != nil || e.Message == "" || strings.Contains(e.Message, "eyJ") {
		return ""
	}
	return fmt.Sprintf(": %.200q", e.Message)
}

// roomsToken makes a token that may make and delete rooms, and nothing else.
func (k Key) roomsToken() (string, error) {
	if k.ID == "" || k.Secret == "" {
		return "", errors.New("rooms token: key and secret are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": k.ID, "nbf": now.Add(-backdated).Unix(), "exp": now.Add(backdated).Unix(), "video": map[string]any{"roomCreate": true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("rooms token: %w", err)
	}
	return signed, nil
}
