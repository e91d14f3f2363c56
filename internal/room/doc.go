// Package room is a LiveKit client with a single purpose: it joins a room and delivers every data
// packet undecoded.
//
// It publishes nothing and subscribes to no media. It uses LiveKit's signalling in
// single-PeerConnection mode (/rtc/v1, LiveKit 1.11 and later). In this mode, the client opens the
// data channels and thereby determines the reliability from the server to us. Both channels are
// ordered and reliable, including the channel for packets that were sent as lossy. Package rtc
// implements the WebRTC connection.
//
// # States of a connection
//
// A Conn has two parts that may fail independently: the websocket, for signalling, and the WebRTC
// connection, for packets. The state of a Conn shows which of them work:
//
//	Join ──▶ joining ──▶ connected ◀──────▶ resuming
//	            │            │                 │
//	            ├────────────┴──▶ closing      │
//	            ▼                    ▼         ▼
//	          ended ◀────────────────┴─────────┘
//
//	state                 event                         next       what is done
//	joining               both channels are open        connected  Join returns
//	joining               no channel after turnAfter    same       ICE restart, with TURN servers
//	joining               websocket lost                ended      connection_lost
//	connected             websocket lost                resuming   signal resume
//	resuming              websocket resumed             connected
//	resuming              WebRTC failed                 ended      connection_lost
//	resuming              session or room gone, silent  ended      connection_lost
//	joining, connected    WebRTC failed                 closing    wait for a Leave and its reason
//	closing               websocket lost, grace over    ended      connection_lost
//	connected, resuming   path silent                   same       ICE restart
//	connected, resuming   no path in time               ended      connection_lost
//	any                   Leave received                ended      with the server's reason
//	any                   closed by us                  ended      left, or join_failed
//
// A lost websocket is resumed without a gap in the packets ([signalResume]). A lost network path is
// replaced by an ICE restart, which keeps the SCTP association: packets that the server held back
// meanwhile then arrive ([iceRestart]). The server drops the connection after 15 s without a packet
// from us (livekit-server, pkg/rtc/transport.go). When the WebRTC connection ends, the Conn ends,
// with a Reason. The caller decides whether to rejoin, because joining a room that has ended
// creates it again.
package room
