package render

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/syncflow/textegress"
)

// maxSegments is how many of the latest segments of speech are tracked, so that a later version of
// one replaces it.
const maxSegments = 1 << 16

// speech holds back lines of the text views. Speech comes in segments, each in several versions
// that replace each other. Only the end of the recording determines which version is the last:
// agents may mark it as final, may leave it unmarked (those in JavaScript never mark their own
// speech), or may be cut off before.
//
// From the first line of speech on, all lines of a view go to a scratch file, in which replaced
// lines are marked. At the end, the others go to the view.
type speech struct {
	scratch func() (Scratch, error)
	file    Scratch // nil: there was no speech
	buf     []byte  // not yet written to file
	size    int64   // bytes written to file

	last map[segmentKey]int64 // offset of the line of each segment
	ring []segmentKey         // of last
	next int

	streamers map[string]bool // senders that send speech as streams and repeat it in packets
}

// segmentKey identifies a segment of one sender.
type segmentKey [16]byte

func newSpeech(scratch func() (Scratch, error)) *speech {
	return &speech{scratch: scratch, last: map[segmentKey]int64{}, streamers: map[string]bool{}}
}

// The first byte of a line in the scratch file. The number of its view and its length follow.
const (
	lineReplaced = iota
	lineShown
	linePacket // shown unless its sender is a streamer

	lineHeaderLen = 1 + 4 + 4
	speechBuffer  = 64 << 10
)

// keyOf identifies a segment across the connections of its sender. The ids of packets and those of
// streams are independent.
func keyOf(m *textegress.Message, id string) segmentKey {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", m.Kind, m.Identity, id))
	return segmentKey(sum[:16])
}

// speaker identifies the sender of a connection. An agent sends the speech of others under their
// identities.
func (c connection) speaker() string {
	if c.sid != "" {
		return c.sid
	}
	return "\x00" + c.identity // no sid starts with a NUL
}

// add appends a line of a view.
func (s *speech) add(mark byte, view int, line []byte) error {
	if s.file == nil {
		f, err := s.scratch()
		if err != nil {
			return err
		}
		s.file = f
	}
	s.buf = append(s.buf, mark)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(view))
	s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(len(line)))
	s.buf = append(s.buf, line...)
	if len(s.buf) < speechBuffer {
		return nil
	}
	return s.flush()
}

func (s *speech) flush() error {
	if _, err := s.file.WriteAt(s.buf, s.size); err != nil {
		return fmt.Errorf("render: scratch file: %w", err)
	}
	s.size += int64(len(s.buf))
	s.buf = s.buf[:0]
	return nil
}

// addSegment appends a line that is a version of a segment, and marks the version before it as
// replaced.
func (s *speech) addSegment(mark byte, key segmentKey, view int, line []byte) error {
	if at, ok := s.last[key]; ok {
		if err := s.replace(at); err != nil {
			return err
		}
	} else {
		s.remember(key)
	}
	s.last[key] = s.size + int64(len(s.buf))
	return s.add(mark, view, line)
}

func (s *speech) remember(key segmentKey) {
	if len(s.ring) < maxSegments {
		s.ring = append(s.ring, key)
		return
	}
	delete(s.last, s.ring[s.next])
	s.ring[s.next] = key
	s.next = (s.next + 1) % maxSegments
}

// replace marks the line at an offset as replaced.
func (s *speech) replace(at int64) error {
	if at >= s.size {
		s.buf[at-s.size] = lineReplaced
		return nil
	}
	if _, err := s.file.WriteAt([]byte{lineReplaced}, at); err != nil {
		return fmt.Errorf("render: scratch file: %w", err)
	}
	return nil
}

// finish calls emit for the lines that were not replaced, in the order in which they were added.
// packet reports whether a line came from a transcription packet.
func (s *speech) finish(emit func(view int, packet bool, line []byte) error) error {
	if s.file == nil {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), speechBuffer)
	var header [lineHeaderLen]byte
	var line []byte
	for left := s.size; left > 0; left -= int64(len(header) + len(line)) {
		_, err := io.ReadFull(in, header[:])
		if err == nil {
			n := int(binary.LittleEndian.Uint32(header[5:]))
			line = append(line[:0], make([]byte, n)...)
			_, err = io.ReadFull(in, line)
		}
		if err != nil {
			return fmt.Errorf("render: scratch file: %w", err)
		}
		if header[0] == lineReplaced {
			continue
		}
		if err := emit(int(binary.LittleEndian.Uint32(header[1:])), header[0] == linePacket,
			line); err != nil {
			return err
		}
	}
	return nil
}

// isSpeech reports whether a line is a version of a segment of speech: a stream on
// lk.transcription.
func isSpeech(m *textegress.Message) bool {
	return m.Kind == textegress.KindTextStream && m.Transcription != nil &&
		len(m.Transcription.Segments) == 1
}

// saysNothing reports whether a version of a segment was cut off before any text arrived. Such a
// version replaces no other.
func saysNothing(m *textegress.Message) bool { return !m.Stream.Complete && m.Stream.Size == 0 }

// packetSegments returns the versions of segments in a transcription packet: the last one of each
// segment.
func packetSegments(m *textegress.Message) []textegress.TranscriptionSegment {
	if m.Kind != textegress.KindTranscription || m.Transcription == nil {
		return nil
	}
	return m.Transcription.Segments
}

// timeOf returns the reception time stated in a line of a text view, see textView.prefix.
func timeOf(line []byte) time.Time {
	_, rest, _ := bytes.Cut(line, []byte{'|'})
	number, _, _ := bytes.Cut(rest, []byte{'|'})
	ns, _ := strconv.ParseInt(string(number), 10, 64)
	return time.Unix(0, ns)
}
