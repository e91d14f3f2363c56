package segment

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The segment format; docs/FORMAT.md, section 2, explains it.
const (
	formatVersion = 1
	nameSuffix    = ".seg"
	magic         = "\x89TXSEG\r\n"
	headerCopyLen = 48
	// duplicateBit is set in the type of a frame that is a possible duplicate.
	duplicateBit = 0x80
)

// Sizes in bytes.
const (
	// HeaderSize is the size of a segment's header. The header is stored twice, because without it
	// no frame can be checked.
	HeaderSize = 2 * headerCopyLen
	// FrameHeaderSize is the size of a frame without its payload.
	FrameHeaderSize = 44
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the header of a segment. No frame of the segment can be decoded without it.
type Header struct {
	// Number is the number of the file, FirstIndex the index of the segment's first frame.
	Number     uint32
	FirstIndex uint64
	// CreatedUnixNS is the time at which the segment was started, in nanoseconds since 1970.
	CreatedUnixNS int64
	// Marker starts every frame. It is random, so that no payload can contain it on purpose. None
	// of its bytes is 0, so that a hole in the file does not contain it.
	Marker [4]byte
	// Salt precedes the data in every checksum. It is random for the same reason as Marker.
	Salt [8]byte
}

// NewHeader returns a header with a random marker and salt.
func NewHeader(number uint32, firstIndex uint64, unixNS int64) Header {
	h := Header{Number: number, FirstIndex: firstIndex, CreatedUnixNS: unixNS}
	_, _ = rand.Read(h.Salt[:]) // never fails, see crypto/rand
	for !h.markerValid() {
		_, _ = rand.Read(h.Marker[:])
	}
	return h
}

// DerivedHeader returns a header for a segment of a recording that is derived from others. The same
// arguments produce the same marker and salt. Participants must not be able to predict the seed
// when they send packets. A suitable seed is the checksums of the source segments, which contain
// random bytes.
func DerivedHeader(seed []byte, number uint32, firstIndex uint64, unixNS int64) Header {
	h := Header{Number: number, FirstIndex: firstIndex, CreatedUnixNS: unixNS}
	for try := uint32(0); !h.markerValid(); try++ {
		sum := sha256.New()
		sum.Write(seed)
		sum.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, number),
			try))
		random := sum.Sum(nil)
		copy(h.Marker[:], random)
		copy(h.Salt[:], random[4:])
	}
	return h
}

func (h *Header) markerValid() bool { return bytes.IndexByte(h.Marker[:], 0) < 0 }

func (h *Header) seed() uint32 { return crc32.Update(0, castagnoli, h.Salt[:]) }

// Append appends the encoded header, [HeaderSize] bytes, to b.
func (h *Header) Append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, 0) // reserved
	b = append(b, h.Marker[:]...)
	b = append(b, h.Salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.FirstIndex)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.CreatedUnixNS))
	b = binary.LittleEndian.AppendUint32(b, h.Number)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, b[start:]...)
}

// versionError reports that a newer program wrote a segment.
type versionError struct{ version uint16 }

func (e *versionError) Error() string {
	return fmt.Sprintf("segment format version %d, this program supports %d", e.version,
		formatVersion)
}

// decodeHeaderCopy returns false if the copy is damaged.
func decodeHeaderCopy(b []byte) (Header, bool, error) {
	var h Header
	if string(b[:8]) != magic || binary.LittleEndian.Uint32(b[44:]) != crc32.Checksum(b[:44],
		castagnoli) {
		return h, false, nil
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != formatVersion {
		return h, false, &versionError{v}
	}
	copy(h.Marker[:], b[12:])
	copy(h.Salt[:], b[16:])
	h.FirstIndex = binary.LittleEndian.Uint64(b[24:])
	h.CreatedUnixNS = int64(binary.LittleEndian.Uint64(b[32:]))
	h.Number = binary.LittleEndian.Uint32(b[40:])
	return h, true, nil
}

// AppendFrame appends f to b, encoded for the segment with this header. It does not allocate if b
// has room.
func (h *Header) AppendFrame(b []byte, f *Frame) []byte {
	seed := h.seed()
	start := len(b)
	b = append(b, h.Marker[:]...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, payloadCRC(seed, f.Payload))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	typ := byte(f.Type)
	if f.PossibleDuplicate {
		typ |= duplicateBit
	}
	b = append(b, typ, byte(f.Channel))
	b = binary.LittleEndian.AppendUint16(b, f.Epoch)
	b = binary.LittleEndian.AppendUint64(b, f.Index)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.UnixNS))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.MonoNS))
	binary.LittleEndian.PutUint32(b[start+4:],
		crc32.Update(seed, castagnoli, b[start+8:start+FrameHeaderSize]))
	return append(b, f.Payload...)
}

// decodeFrameHeader decodes the header of a frame; ok is false if b does not start with one.
func decodeFrameHeader(b []byte, marker [4]byte, seed uint32) (f Frame, payloadCRC uint32,
	length int, ok bool,
) {
	b = b[:FrameHeaderSize]
	if !bytes.Equal(b[:4], marker[:]) ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Update(seed, castagnoli, b[8:]) {
		return Frame{}, 0, 0, false
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n > MaxPayload {
		return Frame{}, 0, 0, false
	}
	f = Frame{
		Type: FrameType(b[16] &^ duplicateBit), PossibleDuplicate: b[16]&duplicateBit != 0,
		Channel: Channel(b[17]),
		Epoch:   binary.LittleEndian.Uint16(b[18:]),
		Index:   binary.LittleEndian.Uint64(b[20:]),
		UnixNS:  int64(binary.LittleEndian.Uint64(b[28:])),
		MonoNS:  int64(binary.LittleEndian.Uint64(b[36:])),
	}
	return f, binary.LittleEndian.Uint32(b[8:]), int(n), true
}

// Name returns the file name of the segment with this number, 1, 2, 3 …: 000001.seg.
func Name(number uint32) string { return fmt.Sprintf("%06d%s", number, nameSuffix) }

// Number returns the number of the segment with this file name, and false if it is not a segment
// name.
func Number(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, nameSuffix)
	if !ok || len(digits) < 6 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || Name(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}

func payloadCRC(seed uint32, payload []byte) uint32 {
	return crc32.Update(seed, castagnoli, payload)
}
