// Package apidoc runs the examples of docs/API.md, which are the files in examples/, against the
// real binary beside a real LiveKit server.
package apidoc
