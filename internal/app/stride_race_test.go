//go:build race

package app_test

// stride thins out the tables of crash points and faults: the race detector makes
// each several times as slow, and needs none of them in particular. Of the at least
// four faults of an operation one is left.
const stride = 3
