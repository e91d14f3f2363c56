// Package sourcetest has the tests of internal/source/rabbitmq and internal/syncflow against a real
// RabbitMQ node with SyncFlow's way to decide on logins. They are here because the servers they
// start belong to this module.
package sourcetest
