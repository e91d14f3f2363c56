//go:build !race

package app_test

// stride thins out the tables of crash points and faults: 1 is every one.
const stride = 1
