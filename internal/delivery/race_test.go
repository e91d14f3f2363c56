//go:build race

package delivery_test

// raceDetector makes everything some ten times slower.
const raceDetector = true
