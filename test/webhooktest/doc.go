// Package webhooktest tests that LiveKit's own receivers verify and decode the webhooks of
// internal/notify and of the real binary.
package webhooktest
