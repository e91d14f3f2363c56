//go:build race

package app_test

// The tables of faults and of crash points are thinned out by these: the race
// detector makes each several times as slow, and needs none of them in
// particular. Of the at least four faults of an operation one is left.
const (
	stride      = 3
	crashStride = 5
)
