// Package room is a LiveKit client that does one thing: it joins a room and delivers every data
// packet undecoded.
//
// It publishes nothing and subscribes to no media. It speaks LiveKit's signalling in
// single-PeerConnection mode (/rtc/v1, LiveKit 1.11 and later), where the client opens the data
// channels and so decides how reliable the way from the server to us is: both channels are ordered
// and reliable, also the one for packets that senders sent as lossy. The WebRTC connection itself
// is package rtc.
//
// # States of a connection
//
// A Conn has two parts that may fail apart from each other: the websocket, for signalling, and the
// WebRTC connection, for packets. Its state says which of them work:
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
//	joining, connected    WebRTC failed                 closing    wait for a Leave that says why
//	closing               websocket lost, grace over    ended      connection_lost
//	connected, resuming   path silent                   same       ICE restart
//	connected, resuming   no path in time               ended      connection_lost
//	any                   Leave received                ended      with the server's reason
//	any                   closed by us                  ended      left, or join_failed
//
// A lost websocket is resumed without a gap in the packets ([signalResume]). A lost network path is
// replaced by an ICE restart, under which the SCTP association lives on: what the server had for us
// meanwhile arrives then ([iceRestart]). The server drops the connection after 15 s without a sign
// of us (livekit-server, pkg/rtc/transport.go). When the WebRTC connection ends, the Conn ends,
// with a Reason. Joining again is the caller's decision, because joining a room that has ended
// creates it again.
package room
