//go:build race

package app_test

// stride thins out the tables of crash points and faults: the race detector makes
// each ten times as slow, and needs none of them in particular. It has no common
// divisor with the number of operations that a step takes, so that each kind of
// operation comes up.
const stride = 7
