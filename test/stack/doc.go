// Package stack starts the servers that a SyncFlow text recorder connects to, configured as in a
// real deployment: a LiveKit server, a private RabbitMQ node with the HTTP authentication plugin,
// an S3 server that checks signatures, and a stand-in for the SyncFlow API that implements its wire
// contract, including its defects. A stack can also consist of LiveKit alone: one server, or
// several nodes with a private Redis server, with a proxy in which webhooks are lost, repeated or
// forged.
//
// Every server is a child process that listens on loopback only, on ports that stay the same, with
// its own directory. It can therefore be killed, stopped, frozen and restarted in place, and its
// CPU time can be measured. All servers end with the process that started them, even if that
// process is killed.
//
// The end-to-end tests, the benchmarks and the demonstration use this package. The service itself
// does not depend on it.
package stack
