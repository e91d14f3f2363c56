// Package rabbitmq listens to the announcements that SyncFlow publishes when a session is created
// for our device group.
//
// SyncFlow's announcements are fire and forget: transient messages, unconfirmed, on an exchange
// that does not survive a restart of the broker, and nothing announces a session twice or tells its
// end. So a listener does four things. It keeps a durable queue of its own, in which announcements
// wait while we are not connected. It binds the queue again as soon as the broker is back, and
// declares the exchange where that is missing. It knows, also over restarts of this process,
// between which times announcements may be lost ([session.Gap]), and has its handler look for the
// sessions that started then. And it reports when SyncFlow itself cannot announce anything.
package rabbitmq
