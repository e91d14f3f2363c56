// Package apidoc runs the examples of docs/API.md, which are the files in examples/.
package apidoc
