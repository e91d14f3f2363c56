package decode

import (
	"bufio"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
)

// numbered reports whether every packet of the sender from the stream's header to its end was
// received.
func (st *stream) numbered(by *end) bool {
	return by != nil && st.header != nil && (by.inline || st.sender.covers(st.headerSeq, by.seq))
}

// incompleteReason returns why the chunks do not form a complete stream, or "" if no problem is
// known.
func (st *stream) incompleteReason(why string, by *end, numbers bool) string {
	switch {
	case st.header == nil:
		return textegress.StreamNoHeader
	case why == textegress.StreamMemoryLimit:
		return why
	case st.failure != "":
		return st.failure
	case why != "":
		return why
	case by == nil:
		return textegress.StreamIDReused // ended by another header
	case by.trailer != nil && by.seq != 0 && st.chunkMax > by.seq:
		return textegress.StreamIDReused // a chunk after the trailer belongs to a later stream
	case by.trailer.GetReason() != "":
		return textegress.StreamAborted
	case st.holes() > 0:
		return textegress.StreamMissingChunks
	case st.low > 0 && !numbers && (st.header.GetTotalLength() == 0 || st.isCompressed()):
		// Either the sender counts from an index other than 0, or the first chunks are missing.
		// Only the length could decide, and the length of compressed content is known only if it
		// can be decompressed from the first byte.
		return textegress.StreamMissingChunks
	}
	return ""
}

// judge returns why a stream without holes may still be incomplete, or "" if it is proved complete.
// In the latter case it adds to the line how the sender deviated from the protocol.
//
// If every packet of the sender from header to end was received, nothing is missing, regardless of
// the length in the header and of the first index. Otherwise the length has to prove that nothing
// is missing before the first chunk and after the last. It cannot if chunks were rewritten: a later
// version may be missing. No known sender both states a length and rewrites chunks, so a stream
// with a length and no rewritten chunk received is taken to have no rewritten chunks.
func (st *stream) judge(m *textegress.Message, by *end, numbers bool, content *Content) (string,
	error,
) {
	total := st.header.GetTotalLength() // many senders write 0 for an unknown length
	differs := total != 0 && uint64(content.Size) != total
	text := m.Kind == textegress.KindTextStream
	var units lengths
	if text && (differs || !numbers && total != 0 && st.endsMayMiss(by)) {
		var err error
		if units, err = measureText(content.Open()); err != nil {
			return "", err
		}
	}
	utf16 := differs && units.valid && units.utf16 == total
	switch {
	case numbers:
	case total == 0:
		return textegress.StreamUnproved, nil
	case st.low > 0 && differs:
		return textegress.StreamMissingChunks, nil
	case differs && !utf16:
		return textegress.StreamLengthDiffers, nil
	case st.rewritten:
		return textegress.StreamUnproved, nil
	case text && !units.ascii && st.endsMayMiss(by):
		// The counts of bytes and UTF-16 units differ, and a partial text may have as many bytes as
		// the complete one has units.
		if st.low > 0 {
			return textegress.StreamMissingChunks, nil
		}
		return textegress.StreamUnproved, nil
	}
	m.Stream.ChunksMissing, m.Stream.FirstChunk = 0, st.low
	switch {
	case utf16:
		m.Stream.LengthUnit = textegress.LengthUTF16
	case differs:
		m.Stream.LengthUnit = textegress.LengthUnknown
	}
	return "", nil
}

func (st *stream) isCompressed() bool {
	return st.header.GetCompression() != livekit.DataStream_NONE
}

// endsMayMiss reports whether the sender's sequence numbers leave room for a chunk before the first
// one or after the last one. It returns false for a sender without sequence numbers, about which
// nothing is known.
func (st *stream) endsMayMiss(by *end) bool {
	last := max(st.headerSeq, st.chunkMax)
	if last == 0 && len(st.continuedBy) == 0 {
		return false
	}
	return by.seq != 0 && (st.low > 0 || !st.sender.covers(last, by.seq))
}

// lengths describes the length of a text.
type lengths struct {
	utf16 uint64 // in UTF-16 code units
	ascii bool   // the length is the same in all units
	valid bool   // the text is UTF-8
}

// measureText reads a text to its end. It returns errors of the reader only.
func measureText(r io.Reader) (lengths, error) {
	l := lengths{ascii: true, valid: true}
	in := bufio.NewReaderSize(r, 16<<10)
	for {
		c, size, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return lengths{}, err
		}
		l.ascii = l.ascii && c < utf8.RuneSelf
		l.valid = l.valid && (c != utf8.RuneError || size > 1)
		l.utf16++
		if c >= 0x10000 {
			l.utf16++
		}
	}
}
