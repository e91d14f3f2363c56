package room

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"google.golang.org/protobuf/proto"
)

// nowhere is a network without interfaces: fuzzing opens no socket.
type nowhere struct{ *stdnet.Net }

func (nowhere) Interfaces() ([]*transport.Interface, error) { return nil, nil }
func (nowhere) ListenUDP(string, *net.UDPAddr) (transport.UDPConn, error) {
	return nil, net.ErrClosed
}

// FuzzSignal takes whatever a server may send over the websocket: each piece of the input is one
// message, the first one instead of the JoinResponse. Nothing panics, events make sense, and what
// is remembered is bounded.
func FuzzSignal(f *testing.F) {
	add := func(ms ...*livekit.SignalResponse) {
		var in []byte
		for _, m := range ms {
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			in = append(in, byte(len(b)>>8), byte(len(b)))
			in = append(in, b...)
		}
		f.Add(in)
	}
	ann := person("PA_a", "Ann", livekit.ParticipantInfo_ACTIVE)
	add(&livekit.SignalResponse{Message: &livekit.SignalResponse_Join{Join: &livekit.JoinResponse{
		Room: &livekit.Room{Sid: "RM_1"}, Participant: person("PA_us", "us",
			livekit.ParticipantInfo_JOINED), OtherParticipants: []*livekit.ParticipantInfo{ann},
		IceServers: []*livekit.ICEServer{{
			Urls:     []string{"turn:192.0.2.1:3478", "stun:x"},
			Username: "u", Credential: "c",
		}}, PingInterval: 5, PingTimeout: 15,
	}}}, &livekit.SignalResponse{Message: &livekit.SignalResponse_Update{
		Update: &livekit.ParticipantUpdate{Participants: []*livekit.ParticipantInfo{ann, nil}},
	}})
	add(&livekit.SignalResponse{},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
			Answer: &livekit.SessionDescription{Type: "answer", Sdp: "v=0\r\n", Id: 1},
		}})
	add(&livekit.SignalResponse{},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_Trickle{
			Trickle: &livekit.TrickleRequest{
				CandidateInit: `{"candidate":"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host","sdpMid":"0","sdpMLineIndex":0}`,
			},
		}})
	add(&livekit.SignalResponse{},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_Leave{
			Leave: &livekit.LeaveRequest{Reason: 4711, Action: 4711},
		}})
	add(&livekit.SignalResponse{},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_PongResp{
			PongResp: &livekit.Pong{Timestamp: -1 << 63},
		}},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_RefreshToken{RefreshToken: "x"}},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_RoomUpdate{
			RoomUpdate: &livekit.RoomUpdate{},
		}},
		&livekit.SignalResponse{Message: &livekit.SignalResponse_Reconnect{
			Reconnect: &livekit.ReconnectResponse{IceServers: []*livekit.ICEServer{nil, {}}},
		}})
	f.Add([]byte{0, 3, 0xff, 0xff, 0xff})

	std, err := stdnet.NewNet()
	if err != nil {
		f.Fatal(err)
	}
	c, err := newClient(Options{Net: nowhere{std}}, quickTimes())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		w := &witness{}
		p, err := c.newPeer(network{v4: true}, w)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		var conn *Conn
		offered, measured := false, false
		for len(in) >= 2 {
			n := min(int(in[0])<<8|int(in[1]), len(in)-2)
			piece := in[2 : 2+n]
			in = in[2+n:]
			m, err := decodeSignal(piece)
			if err != nil {
				continue
			}
			if conn == nil {
				j := m.GetJoin()
				conn = &Conn{
					client: c, o: JoinOptions{Handler: w}, info: infoOf(j), log: c.log, peer: p,
					over:   make(chan struct{}),
					roster: newRoster(j.GetParticipant().GetSid(), j.GetOtherParticipants()),
					tracks: newDataTracks(j.GetOtherParticipants()),
				}
				conn.every, conn.wait = pingTimes(j, c.times)
				if conn.every < time.Second && conn.every != c.times.ping ||
					conn.every > time.Minute || conn.wait < 2*conn.every ||
					conn.wait > 3*time.Minute {
					t.Errorf("pings every %v, wait %v", conn.every, conn.wait)
				}
				conn.servers = turnServers(j.GetIceServers())
				_ = p.useServers(conn.servers)
				continue
			}
			if m.GetAnswer() != nil && !offered {
				offered = true
				if _, err := p.offer(context.Background(), time.Second); err != nil {
					t.Fatal(err)
				}
			}
			conn.roster.full = m.GetReconnect() != nil
			_ = turnServers(m.GetReconnect().GetIceServers())
			if !conn.told(m, time.Now(), &measured) {
				if _, end := conn.handle(inbound{m: m}); end != nil && end.Reason == "" {
					t.Error("an end without a reason")
				}
			}
			if len(conn.roster.members) > maxMembers || len(conn.roster.gone) > 1000 ||
				len(conn.refreshed) > maxToken || len(p.early) > maxCandidates {
				t.Error("too much is remembered")
			}
		}
		for _, e := range w.events {
			if e.Type.String() == "" {
				t.Errorf("event %d", e.Type)
			}
		}
	})
}
