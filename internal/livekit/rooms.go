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
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/clock"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// requestTimeout bounds one request to the server.
	requestTimeout = 15 * time.Second
	// mostAnswer bounds the size of a response. Ten thousand rooms with six kilobytes of metadata
	// each fit in it.
	mostAnswer = 64 << 20
	// idleConns is the number of connections that are kept open for the next requests.
	idleConns = 8
)

// Rooms creates, finds and deletes rooms of a LiveKit server. It keeps its connections and is safe
// for concurrent use.
type Rooms struct {
	base  string // …/twirp/livekit.RoomService/
	http  *http.Client
	clock clock.Offset // the server's

	mu  sync.Mutex // guards key
	key Key
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
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = idleConns
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Rooms{base: base.String(), key: key, http: &http.Client{
		Transport: transport, Timeout: requestTimeout, CheckRedirect: noRedirect,
	}}, nil
}

// SetKey replaces the key, from the next request on.
func (r *Rooms) SetKey(key Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = key
}

// Key returns the key.
func (r *Rooms) Key() Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key
}

// ClockOffset returns how far the server's clock is ahead of ours, to about a second; known is
// false before the first answer.
func (r *Rooms) ClockOffset() (offset time.Duration, known bool) { return r.clock.Value() }

// Create creates a room. The server closes it when it has been empty for the given time.
func (r *Rooms) Create(ctx context.Context, room string, emptyTimeout time.Duration) error {
	return r.callJSON(ctx, "CreateRoom", map[string]any{
		"name":         room,
		"emptyTimeout": int(emptyTimeout.Seconds()), "departureTimeout": 1,
	})
}

// Delete deletes a room and disconnects its participants.
func (r *Rooms) Delete(ctx context.Context, room string) error {
	return r.callJSON(ctx, "DeleteRoom", map[string]any{"room": room})
}

// List lists the rooms of the given names that exist; without names, all rooms. It creates none.
func (r *Rooms) List(ctx context.Context, names ...string) ([]Room, error) {
	answer, err := r.call(ctx, "ListRooms", contentProtobuf, listRequest(names))
	if err != nil {
		return nil, err
	}
	rooms, err := decodeRooms(answer)
	if err != nil {
		return nil, fmt.Errorf("LiveKit, ListRooms: the answer is not what LiveKit sends "+
			"(%d bytes)", len(answer))
	}
	return rooms, nil
}

// Find returns the room of a name; found is false if there is none.
func (r *Rooms) Find(ctx context.Context, name string) (room Room, found bool, err error) {
	list, err := r.List(ctx, name)
	for _, room := range list {
		if room.Name == name {
			return room, true, nil
		}
	}
	return Room{}, false, err
}

// Exists reports whether the server has a room of that name.
func (r *Rooms) Exists(ctx context.Context, room string) (bool, error) {
	_, found, err := r.Find(ctx, room)
	return found, err
}

// FindRoom returns the room of a name on the server at a URL; found is false if there is none.
func (k Key) FindRoom(ctx context.Context, serverURL, name string) (room session.Room, found bool,
	err error,
) {
	rooms, err := NewRooms(serverURL, k)
	if err != nil {
		return session.Room{}, false, err
	}
	defer rooms.http.CloseIdleConnections()
	r, found, err := rooms.Find(ctx, name)
	return session.Room{SID: r.SID, Metadata: r.Metadata}, found, err
}

// RoomExists reports whether the server at a URL has a room of that name.
func (k Key) RoomExists(ctx context.Context, serverURL, room string) (bool, error) {
	_, found, err := k.FindRoom(ctx, serverURL, room)
	return found, err
}

// The two encodings of Twirp. Lists of rooms are in protobuf: 5,000 rooms then take LiveKit 1.13.5
// a fifteenth of the processor time (35 ms), us a twentieth, and a third of the bytes (1.2 MB).
const (
	contentJSON     = "application/json"
	contentProtobuf = "application/protobuf"
)

func (r *Rooms) callJSON(ctx context.Context, method string, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	_, err = r.call(ctx, method, contentJSON, body)
	return err
}

// call sends one request and returns the answer. Its error texts contain neither token nor key.
func (r *Rooms) call(ctx context.Context, method, content string, request []byte) ([]byte, error) {
	key := r.Key()
	token, err := key.roomsToken()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+method,
		bytes.NewReader(request))
	if err != nil {
		return nil, fmt.Errorf("LiveKit, %s: %w", method, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", content)
	sent := time.Now()
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("LiveKit, %s: %w", method, redact.Error(err, token, key.Secret))
	}
	r.clock.Measure(resp.Header.Get("Date"), sent, time.Now())
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("LiveKit, %s: %w", method, ErrKeyRefused)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("LiveKit, %s: HTTP status %d%s", method, resp.StatusCode,
			reason(answer))
	case err != nil:
		return nil, fmt.Errorf("LiveKit, %s: read the answer: %w", method,
			redact.Error(err, token, key.Secret))
	case len(answer) > mostAnswer:
		return nil, fmt.Errorf("LiveKit, %s: the answer has more than %d MiB", method,
			mostAnswer>>20)
	}
	return answer, nil
}

// ErrKeyRefused means that the key is unknown to the server, or that the secret or a clock is
// wrong. It wraps [session.ErrUnauthorized].
var ErrKeyRefused = fmt.Errorf("the server refuses the API key, its secret, or a token by this "+
	"machine's clock: %w", session.ErrUnauthorized)

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
