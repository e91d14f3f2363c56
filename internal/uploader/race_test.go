//go:build race

package uploader_test

// raceDetector makes everything some ten times slower.
const raceDetector = true
