package render

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/decode"
)

// fullScratch is a scratch file on a disk that is full after a number of writes.
type fullScratch struct{ left int }

var errNoSpace = errors.New("no space left on device")

func (s *fullScratch) WriteAt(p []byte, _ int64) (int, error) {
	if s.left--; s.left < 0 {
		return 0, errNoSpace
	}
	return len(p), nil
}
func (s *fullScratch) ReadAt([]byte, int64) (int, error) { return 0, errNoSpace }
func (s *fullScratch) Close() error                      { return nil }

// However many segments somebody sends, no more than the last ones are remembered.
func TestSpeechIsBounded(t *testing.T) {
	s := newSpeech(func() (decode.Scratch, error) { return &fullScratch{1 << 30}, nil })
	var key segmentKey
	for i := range uint64(3 * maxSegments) {
		binary.LittleEndian.PutUint64(key[:], i)
		for range 2 {
			if err := s.addSegment(lineShown, key, 0, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.last) > maxSegments || len(s.ring) > maxSegments || cap(s.buf) > 4*speechBuffer {
		t.Errorf("%d segments, %d in the ring, %d bytes of buffer", len(s.last), len(s.ring),
			cap(s.buf))
	}
}

// An error of the scratch file is told, wherever it comes.
func TestSpeechScratchFails(t *testing.T) {
	line := []byte(strings.Repeat("x", speechBuffer/2))
	for left := range 4 {
		s := newSpeech(func() (decode.Scratch, error) { return &fullScratch{left}, nil })
		var err error
		for i := range byte(8) {
			if err = s.addSegment(lineShown, segmentKey{i % 2}, 0, line); err != nil {
				break
			}
		}
		if err == nil {
			err = s.finish(func(int, bool, []byte) error { return nil })
		}
		if !errors.Is(err, errNoSpace) || !strings.Contains(err.Error(), "scratch file") {
			t.Errorf("after %d writes: %v", left, err)
		}
	}
	s := newSpeech(func() (decode.Scratch, error) { return nil, errNoSpace })
	if err := s.add(lineShown, 0, line); !errors.Is(err, errNoSpace) {
		t.Error(err)
	}
}
