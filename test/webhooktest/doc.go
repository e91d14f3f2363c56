// Package webhooktest tests that LiveKit's own receivers verify and understand the webhooks of
// internal/notify.
package webhooktest
