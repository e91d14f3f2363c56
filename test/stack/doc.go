// Package stack starts the servers that a SyncFlow text recorder talks to, as they are in a real
// deployment: a LiveKit server, a private RabbitMQ node with the HTTP authentication plugin, an S3
// server that checks signatures, and a stand-in for the SyncFlow API that keeps to its wire
// contract, awkward cases included.
//
// Every server is a child process that listens on loopback only, on ports that were chosen once,
// with its own folder. It can therefore be killed, stopped, frozen and started again where it was,
// and its CPU time can be counted. Everything that is started here dies with the process that
// started it, even if that process is killed.
//
// The end-to-end tests, the benchmarks and the demonstration use it. The service itself does not
// depend on it.
package stack
