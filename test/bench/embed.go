package bench

import _ "embed" // the peer's program

//go:embed peers/rtc-node.mjs
var rtcNode []byte
