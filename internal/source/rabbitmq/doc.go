// Package source hears about sessions: RabbitMQ listens to the announcements that SyncFlow
// publishes when a session is created for our device group.
//
// SyncFlow's announcements are fire and forget: transient messages, unconfirmed, on an exchange
// that does not survive a restart of the broker, and nothing announces a session twice or tells its
// end. So a listener does four things. It keeps a durable queue of its own, in which announcements
// wait while we are away. It makes the queue's binding again as soon as the broker is back, and the
// exchange where that is missing. It knows, over restarts of this process too, between which times
// announcements can have been lost ([session.Gap]), and tells its owner, who asks SyncFlow for the
// sessions that began then. And it says when SyncFlow itself has become unable to announce
// anything.
package rabbitmq
