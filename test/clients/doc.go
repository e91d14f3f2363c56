// Package clients tests that what real clients send ends in the record: the browser, Node, Python
// and Go SDKs of LiveKit and its server API, alone with the recorder and together. The senders are
// in apps/, written as an app's developer would write them. What is expected is a table in the
// tests; docs/CLIENTS.md is written from what was found (go test ./clients -update).
package clients
