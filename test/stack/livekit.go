package stack

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// LiveKitOptions configures a LiveKit server. The zero value is a server as SyncFlow's deployments
// run it, with LiveKit's own defaults.
type LiveKitOptions struct {
	// Version is "1.13.5" (default) or "1.11.0".
	Version string
	// Dir is the directory for the configuration and the log. Empty: a temporary directory that
	// Close removes.
	Dir string
	// UDPRange replaces the range of about 900 UDP ports; every PeerConnection needs one.
	UDPRange [2]int
	// EmptyTimeout is the time after which a room that nobody joined closes, DepartureTimeout the
	// same for a room that everybody left. Whole seconds; 0: LiveKit's defaults (300 s and 20 s).
	EmptyTimeout, DepartureTimeout time.Duration
	// NoAutoCreate makes joining a room that does not exist an error.
	NoAutoCreate bool
	// TURN runs LiveKit's TURN server, over UDP and over TLS. LiveKit announces the latter to
	// clients as TURNDomain:443, which does not resolve: tests must redirect it to LiveKit.TURNTLS.
	// Its certificate is signed by CertDir/ca.pem.
	TURN bool
	// CertDir is the directory of the certificates for TURN, which are created if missing. Empty:
	// Dir.
	CertDir string
	// LogLevel is the server's log level; default "info".
	LogLevel string
	// RoomConfig and RTCConfig are further lines of YAML for the sections room and rtc, each "key:
	// value".
	RoomConfig, RTCConfig []string
	// Redis is the address of a Redis server. Servers with the same one are nodes of one cluster.
	Redis string
	// Webhooks are the URLs to which the server sends webhooks.
	Webhooks []string
}

// LiveKit is a running LiveKit server, on loopback only. Without Redis, it keeps its rooms in
// memory, and a restart loses them.
type LiveKit struct {
	*Process
	URL               string // ws://127.0.0.1:port, for clients
	HTTPURL           string // http://127.0.0.1:port, for the server API
	APIKey, APISecret string
	Version           string
	TURNTLS           string // 127.0.0.1:port of TURN over TLS; empty without LiveKitOptions.TURN
	TURNUDP           int    // port of TURN over UDP

	cleanup func()
}

// TURNDomain is the name of LiveKit's TURN server.
const TURNDomain = "turn.textegress.test"

// StartLiveKit starts a LiveKit server and waits until it responds.
func StartLiveKit(ctx context.Context, o LiveKitOptions) (*LiveKit, error) {
	ports, err := takePortBlock()
	if err != nil {
		return nil, err
	}
	cleanup := ports.release
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "textegress-livekit-"); err != nil {
			ports.release()
			return nil, err
		}
		cleanup = func() { ports.release(); os.RemoveAll(dir) }
	}
	l, err := startLiveKit(ctx, o, dir, ports)
	if err != nil {
		cleanup()
		return nil, err
	}
	l.cleanup = cleanup
	return l, nil
}

func startLiveKit(ctx context.Context, o LiveKitOptions, dir string, ports *portBlock) (*LiveKit,
	error,
) {
	o.Version = orDefault(o.Version, "1.13.5")
	name := map[string]string{"1.13.5": BinLiveKit, "1.11.0": BinLiveKit111}[o.Version]
	if name == "" {
		return nil, fmt.Errorf("stack: no LiveKit %s here, only 1.13.5 and 1.11.0", o.Version)
	}
	bin, err := EnsureBinaries(ctx, name)
	if err != nil {
		return nil, err
	}
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := &LiveKit{
		URL: fmt.Sprintf("ws://127.0.0.1:%d", port), HTTPURL: fmt.Sprintf("http://127.0.0.1:%d",
			port),
		APIKey: "devkey", APISecret: "devsecret-0123456789abcdef0123456789", Version: o.Version,
	}
	first, last := ports.udpRange()
	if o.UDPRange != [2]int{} {
		first, last = o.UDPRange[0], o.UDPRange[1]
	}
	yaml := liveKitYAML(o, l, port, first, last)
	if o.TURN {
		turn, err := turnYAML(orDefault(o.CertDir, dir), l, ports)
		if err != nil {
			return nil, err
		}
		yaml += turn
	}
	conf := filepath.Join(dir, "livekit.yaml")
	if err := os.WriteFile(conf, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	l.Process, err = StartProcess(ctx, ProcessSpec{
		Name: "livekit-server " + o.Version, Path: filepath.Join(bin, name),
		Args: []string{"--config", conf},
		Dir:  dir, Log: filepath.Join(dir, "livekit.log"), StopTimeout: 15 * time.Second,
		Ready: func(ctx context.Context) error {
			if err := httpOK(ctx, l.HTTPURL); err != nil {
				return err
			}
			// LiveKit responds 0.1 s before its state is running, and a termination signal in
			// between is lost.
			time.Sleep(150 * time.Millisecond)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Close kills the server, because a terminated LiveKit waits for its participants, and removes its
// directory if it was temporary.
func (l *LiveKit) Close() error {
	err := l.Kill()
	if l.cleanup != nil {
		l.cleanup()
	}
	return err
}

// Stop ends the server without waiting for its participants, which are disconnected with
// SERVER_SHUTDOWN. After a first signal, LiveKit waits until the last participant has left
// (Process.Stop does that). A second signal ends it, after up to five seconds for open HTTP
// connections.
func (l *LiveKit) Stop(ctx context.Context) error {
	if !l.Running() {
		return nil
	}
	exited := l.Exited()
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-exited:
				return
			case <-tick.C:
				// not SIGTERM: two equal pending signals would arrive as one
				_ = l.signal(syscall.SIGINT)
			}
		}
	}()
	return l.Process.Stop(ctx)
}

// Restart stops the server if it is running and restarts it on the same ports, without its rooms.
func (l *LiveKit) Restart(ctx context.Context) error {
	if err := l.Stop(ctx); err != nil {
		return err
	}
	return l.Start(ctx)
}

// Grants returns the permissions of an ordinary participant that may publish data.
func Grants(room string) *auth.VideoGrant { return &auth.VideoGrant{RoomJoin: true, Room: room} }

// RecorderGrants returns the permissions that a hidden recorder requests from SyncFlow.
func RecorderGrants(room string) *auth.VideoGrant {
	g := &auth.VideoGrant{RoomJoin: true, Room: room, Hidden: true, Recorder: true}
	g.SetCanPublish(false)
	g.SetCanPublishData(false)
	g.SetCanSubscribe(true)
	return g
}

// Token returns a join token for 6 hours.
func (l *LiveKit) Token(identity string, g *auth.VideoGrant) (string, error) {
	return l.TokenFor(identity, g, 6*time.Hour)
}

// TokenFor returns a join token that is valid for the given time.
func (l *LiveKit) TokenFor(identity string, g *auth.VideoGrant, valid time.Duration) (string,
	error,
) {
	t, err := auth.NewAccessToken(l.APIKey, l.APISecret).SetIdentity(identity).SetName(
		identity).SetVideoGrant(g).SetValidFor(valid).ToJWT()
	if err != nil {
		return "", fmt.Errorf("stack: making a LiveKit token: %w", err)
	}
	return t, nil
}

// RoomService returns a client of the server API.
func (l *LiveKit) RoomService() *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient(l.HTTPURL, l.APIKey, l.APISecret)
}

var nodeID = regexp.MustCompile(`starting LiveKit server.*"nodeID": ?"(ND_[^"]+)"`)

// NodeID returns the id that the server gave itself when it last started.
func (l *LiveKit) NodeID() (string, error) {
	b, err := os.ReadFile(l.LogPath())
	if err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	all := nodeID.FindAllSubmatch(b, -1)
	if len(all) == 0 {
		return "", fmt.Errorf("stack: %s does not state the id of the node", l.LogPath())
	}
	return string(all[len(all)-1][1]), nil
}

// CreateRoom creates a room, or returns the one of that name.
func (l *LiveKit) CreateRoom(ctx context.Context, name string) (*livekit.Room, error) {
	return l.RoomService().CreateRoom(ctx, &livekit.CreateRoomRequest{Name: name})
}

// DeleteRoom ends a room: its participants are disconnected with ROOM_DELETED.
func (l *LiveKit) DeleteRoom(ctx context.Context, name string) error {
	_, err := l.RoomService().DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: name})
	return err
}

// Room returns the room of that name, or nil if there is none.
func (l *LiveKit) Room(ctx context.Context, name string) (*livekit.Room, error) {
	r, err := l.RoomService().ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{name}})
	if err != nil || len(r.Rooms) == 0 {
		return nil, err
	}
	return r.Rooms[0], nil
}

// Participants lists everybody in a room, hidden participants too.
func (l *LiveKit) Participants(ctx context.Context, room string) ([]*livekit.ParticipantInfo,
	error,
) {
	r, err := l.RoomService().ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: room})
	if err != nil {
		return nil, err
	}
	return r.Participants, nil
}

// RemoveParticipant disconnects one participant with PARTICIPANT_REMOVED.
func (l *LiveKit) RemoveParticipant(ctx context.Context, room, identity string) error {
	_, err := l.RoomService().RemoveParticipant(ctx, &livekit.RoomParticipantIdentity{
		Room:     room,
		Identity: identity,
	})
	return err
}

// SendData sends a packet through the server API: receivers see no sender and no sequence number.
func (l *LiveKit) SendData(ctx context.Context, room, topic string, reliable bool,
	payload []byte,
) error {
	kind := livekit.DataPacket_LOSSY
	if reliable {
		kind = livekit.DataPacket_RELIABLE
	}
	req := &livekit.SendDataRequest{Room: room, Data: payload, Kind: kind}
	if topic != "" {
		req.Topic = &topic
	}
	_, err := l.RoomService().SendData(ctx, req)
	return err
}

// probe keeps no connections: an idle one would delay the shutdown of the probed server.
var probe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func httpOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := probe.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}
