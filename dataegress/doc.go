// Package dataegress is the API of textegress as Twirp code: the messages, a server interface and
// clients in protobuf and JSON. Package client is easier to use for callers in Go. docs/API.md
// describes the methods, their errors and the access tokens.
package dataegress

//go:generate ../scripts/generate.sh
