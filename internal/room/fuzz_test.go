package room

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/room/rtc"
)

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

	c := newClientOn(nil, Options{}, defaultTimes)
	f.Fuzz(func(t *testing.T, in []byte) {
		w := &witness{}
		peer := &fakeRTC{h: w, dark: &atomic.Bool{}, events: make(chan rtc.Event, 1)}
		var conn *Conn
		measured := false
		for len(in) >= 2 {
			n := min(int(in[0])<<8|int(in[1]), len(in)-2)
			piece := in[2 : 2+n]
			in = in[2+n:]
			m, err := decodeSignal(piece)
			if err != nil {
				continue
			}
			if conn == nil {
				conn = c.newConn(JoinOptions{Handler: w}, endpoint{}, m.GetJoin(), peer)
				if every, wait := conn.pingEvery, conn.pingWait; every < time.Second &&
					every != c.times.ping || every > time.Minute || wait < 2*every ||
					wait > 3*time.Minute {
					t.Errorf("pings every %v, wait %v", every, wait)
				}
				continue
			}
			conn.roster.full = m.GetReconnect() != nil
			_ = turnServers(m.GetReconnect().GetIceServers())
			if !conn.handleEvent(m, time.Now(), &measured) {
				if end := conn.onSignal(inbound{m: m}); end != nil && end.Reason == "" {
					t.Error("an end without a reason")
				}
			}
			if len(conn.roster.members) > maxMembers || len(conn.roster.gone) > 1000 ||
				len(conn.token) > maxToken {
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
