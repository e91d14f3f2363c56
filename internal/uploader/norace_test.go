//go:build !race

package uploader_test

const raceDetector = false
