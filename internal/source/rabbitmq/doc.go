// Package rabbitmq receives the announcements that SyncFlow publishes when a session is created for
// our device group.
//
// SyncFlow publishes each announcement once, as a transient, unconfirmed message on an exchange
// that does not survive a restart of the broker. It does not announce the end of a session. The
// source therefore does four things:
//
//   - It keeps a durable queue of its own, in which announcements wait while it is not connected.
//   - It restores the binding as soon as the broker is back, and declares the exchange if it is
//     missing.
//   - It records, across restarts of this process, when announcements may have been lost
//     ([session.Gap]), and has its handler look for the sessions that started then.
//   - It reports when SyncFlow itself cannot announce sessions.
package rabbitmq
