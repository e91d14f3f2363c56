//go:build !race

package app_test

// The tables of faults and of crash points are thinned out by these: 1 is every
// one.
const (
	stride      = 1
	crashStride = 1
)
