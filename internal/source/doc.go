// Package source hears about sessions: RabbitMQ listens to the announcements that SyncFlow publishes when a session is
// created for our device group.
//
// SyncFlow's announcements are fire and forget: transient messages, unconfirmed, on an exchange that does not survive a
// restart of the broker, and nothing announces a session twice or tells its end. So a listener does three things. It keeps
// a durable queue of its own, in which announcements wait while we are away. It re-establishes the queue's binding as soon
// as the exchange is back. And it calls its owner after every gap, who then asks SyncFlow what was missed.
package source
