// Package textegress is the recording format of the textegress service: what
// was said over the data channels of one LiveKit session, with a statement of
// what was and was not captured.
package textegress
