package room

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/room/rtc"
)

const (
	// maxSignal bounds a message from the server. The largest message lists all participants with
	// their metadata and attributes, up to 64 kB each.
	maxSignal = 16 << 20
	// maxToken is more than a server accepts in a header.
	maxToken = 64 << 10
	// gzipAbove is the size above which a join request is compressed. The request is part of the
	// URL, and proxies accept URLs of 8 kB.
	gzipAbove = 3 << 10
)

// endpoint is where a LiveKit server listens.
type endpoint struct {
	ws   url.URL // …/rtc/v1
	http url.URL // the server's root page, which shows whether the server is alive
}

func parseEndpoint(raw string) (endpoint, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // its text repeats the URL
			err = ue.Err
		}
		return endpoint{}, err
	}
	ws, ok := map[string]string{
		"ws": "ws", "http": "ws", "wss": "wss",
		"https": "wss",
	}[strings.ToLower(u.Scheme)]
	if !ok || u.Host == "" {
		return endpoint{}, errors.New("the LiveKit URL must begin with ws://, wss://, http:// or " +
			"https:// and name a host")
	}
	root := url.URL{Scheme: map[string]string{"ws": "http", "wss": "https"}[ws], Host: u.Host}
	root.Path = strings.TrimRight(u.Path, "/") + "/"
	e := endpoint{http: root, ws: root}
	e.ws.Scheme = ws
	e.ws.Path += "rtc/v1"
	return e, nil
}

// clientInfo identifies us as LiveKit's Go SDK 2.18.1, whose capabilities we have: no ICE over TCP,
// SCTP with zero checksums (livekit-server, pkg/rtc/clientinfo.go), protocol 17.
func clientInfo() *livekit.ClientInfo {
	return &livekit.ClientInfo{
		Sdk: livekit.ClientInfo_GO, Version: "2.18.1", Protocol: 17, Os: runtime.GOOS,
		DeviceModel: "textegress",
	}
}

// joinRequest returns the value of the URL parameter join_request. Never put a SyncState into it: a
// SyncState without a subscription crashes a 1.11 server (livekit-server#4560).
func joinRequest(jr *livekit.JoinRequest) (string, error) {
	jr.ClientInfo = clientInfo()
	jr.ConnectionSettings = &livekit.ConnectionSettings{
		AutoSubscribe:          false,
		AutoSubscribeDataTrack: new(true),
	}
	b, err := proto.Marshal(jr)
	if err != nil {
		return "", err
	}
	w := &livekit.WrappedJoinRequest{JoinRequest: b}
	if len(b) > gzipAbove {
		var z bytes.Buffer
		gz := gzip.NewWriter(&z)
		if _, err := gz.Write(b); err != nil {
			return "", err
		}
		if err := gz.Close(); err != nil {
			return "", err
		}
		w = &livekit.WrappedJoinRequest{
			Compression: livekit.WrappedJoinRequest_GZIP,
			JoinRequest: z.Bytes(),
		}
	}
	if b, err = proto.Marshal(w); err != nil {
		return "", err
	}
	return base64.URLEncoding.EncodeToString(b), nil
}

// signal is one websocket to the server. One goroutine may read while another writes.
type signal struct {
	ws   *websocket.Conn
	wait time.Duration // read deadline
	send time.Duration // write deadline
}

// dial opens a websocket and reads the server's first message. Errors are *JoinError.
func (c *Client) dial(ctx context.Context, e endpoint, token string,
	jr *livekit.JoinRequest,
) (*signal, *livekit.SignalResponse, error) {
	param, err := joinRequest(jr)
	if err != nil {
		return nil, nil, &JoinError{Phase: "websocket", Err: err}
	}
	u := e.ws
	u.RawQuery = "join_request=" + url.QueryEscape(param)
	header := http.Header{"User-Agent": {"textegress"}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	dialer, opened := bounded(c.dialer)
	//nolint:bodyclose // gorilla has read the body, which needs no closing
	ws, resp, err := dialer.DialContext(ctx, u.String(), header)
	if err != nil {
		je := &JoinError{Phase: "websocket", Err: redact.Error(inTime(ctx, err), token)}
		if resp != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // already in memory
			// LiveKit repeats the token in the body of a 401 (pkg/service/auth.go)
			je.Status, je.Body = resp.StatusCode, redact.Text(string(body), token)
		}
		return nil, nil, je
	}
	opened()
	s := &signal{ws: ws, wait: c.times.pingWait, send: c.times.write}
	ws.SetReadLimit(maxSignal)
	stop := context.AfterFunc(ctx, func() { _ = ws.NetConn().Close() })
	m, err := s.read()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.close()
		return nil, nil, &JoinError{Phase: "join response", Err: inTime(ctx, err)}
	}
	return s, m, nil
}

// inTime joins the error of ctx to an error caused by a deadline or by the end of ctx, so that
// errors.Is recognises it.
func inTime(ctx context.Context, err error) error {
	cause := ctx.Err()
	// the socket's deadline passed a moment before the context's
	if cause == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		cause = context.DeadlineExceeded
	}
	return errors.Join(cause, err)
}

// read returns the next message.
func (s *signal) read() (*livekit.SignalResponse, error) {
	// The deadline is set here and not after the last message, because a blocked Handler.Event must
	// not count as silence of the server.
	if err := s.ws.SetReadDeadline(time.Now().Add(s.wait)); err != nil {
		return nil, err
	}
	_, b, err := s.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	return decodeSignal(b)
}

func decodeSignal(b []byte) (*livekit.SignalResponse, error) {
	m := &livekit.SignalResponse{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("a message that is no SignalResponse: %w", err)
	}
	return m, nil
}

func (s *signal) write(m *livekit.SignalRequest) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.ws.SetWriteDeadline(time.Now().Add(s.send)); err != nil {
		return err
	}
	return s.ws.WriteMessage(websocket.BinaryMessage, b)
}

func (s *signal) ping() error {
	return s.write(&livekit.SignalRequest{Message: &livekit.SignalRequest_PingReq{
		PingReq: &livekit.Ping{Timestamp: time.Now().UnixMilli()},
	}})
}

func (s *signal) offer(o rtc.Offer) error {
	return s.write(&livekit.SignalRequest{
		Message: &livekit.SignalRequest_Offer{Offer: sessionDescription(o)},
	})
}

func sessionDescription(o rtc.Offer) *livekit.SessionDescription {
	return &livekit.SessionDescription{Type: "offer", Sdp: o.SDP, Id: o.ID}
}

func (s *signal) trickle(candidate string) error {
	return s.write(&livekit.SignalRequest{Message: &livekit.SignalRequest_Trickle{
		Trickle: &livekit.TrickleRequest{
			CandidateInit: candidate, Target: livekit.SignalTarget_PUBLISHER,
		},
	}})
}

func (s *signal) leave() error {
	return s.write(&livekit.SignalRequest{
		Message: &livekit.SignalRequest_Leave{Leave: &livekit.LeaveRequest{
			Reason: livekit.DisconnectReason_CLIENT_INITIATED,
			Action: livekit.LeaveRequest_DISCONNECT,
		}},
	})
}

func (s *signal) close() { _ = s.ws.Close() }

// clockOffset returns the server's clock minus ours. It assumes that the server's timestamp lies in
// the middle between our two.
func clockOffset(p *livekit.Pong, now time.Time) time.Duration {
	return time.Duration(
		2*p.GetTimestamp()-now.UnixMilli()-p.GetLastPingTimestamp()) * time.Millisecond / 2
}

// pingTimes returns the ping interval and the read deadline. It uses the server's values if they
// are sensible.
func pingTimes(j *livekit.JoinResponse, t times) (every, wait time.Duration) {
	every, wait = t.ping, t.pingWait
	if s := time.Duration(j.GetPingInterval()) * time.Second; s >= time.Second && s <= time.Minute {
		every = min(every, s)
	}
	// The server's timeout is how long it waits for our ping. We wait a little longer, so that we
	// do not dial a stalled server needlessly.
	if s := time.Duration(j.GetPingTimeout()) * time.Second; s > every && s <= time.Minute {
		wait = max(wait, s+every)
	}
	return every, max(wait, 2*every)
}
