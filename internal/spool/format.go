package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The segment format; docs/FORMAT.md, section 2, explains it.
const (
	segmentVersion = 1
	segmentSuffix  = ".seg"
	magic          = "\x89TXSEG\r\n"
	headerCopyLen  = 48
	// headerLen: the header stands twice, as no frame can be checked without it.
	headerLen      = 2 * headerCopyLen
	frameHeaderLen = 44
	// duplicateBit is set in the type of a frame that is a possible duplicate.
	duplicateBit = 0x80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader is what all frames of a segment depend on.
type segmentHeader struct {
	// marker begins every frame. It is random, so that a payload cannot contain
	// it on purpose, and not 0, so that a hole in the file does not contain it.
	marker [4]byte
	// salt goes into every checksum before the data, for the same reason.
	salt          [8]byte
	firstIndex    uint64
	createdUnixNS int64
	number        uint32
}

func newSegmentHeader(number uint32, firstIndex uint64, unixNS int64) segmentHeader {
	h := segmentHeader{firstIndex: firstIndex, createdUnixNS: unixNS, number: number}
	_, _ = rand.Read(h.salt[:]) // never fails, see crypto/rand
	for h.marker[0] == 0 || h.marker[1] == 0 || h.marker[2] == 0 || h.marker[3] == 0 {
		_, _ = rand.Read(h.marker[:])
	}
	return h
}

func (h segmentHeader) seed() uint32 { return crc32.Update(0, castagnoli, h.salt[:]) }

// encode returns both copies.
func (h segmentHeader) encode() []byte {
	b := make([]byte, 0, headerLen)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, segmentVersion)
	b = binary.LittleEndian.AppendUint16(b, 0) // reserved
	b = append(b, h.marker[:]...)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.firstIndex)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.createdUnixNS))
	b = binary.LittleEndian.AppendUint32(b, h.number)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, b...)
}

// versionError says that a segment was written by a newer program.
type versionError struct{ version uint16 }

func (e *versionError) Error() string {
	return fmt.Sprintf("segment format version %d, this program knows %d", e.version,
		segmentVersion)
}

// decodeHeaderCopy returns false where the copy is damaged.
func decodeHeaderCopy(b []byte) (segmentHeader, bool, error) {
	var h segmentHeader
	if string(b[:8]) != magic || binary.LittleEndian.Uint32(b[44:]) != crc32.Checksum(b[:44],
		castagnoli) {
		return h, false, nil
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != segmentVersion {
		return h, false, &versionError{v}
	}
	copy(h.marker[:], b[12:])
	copy(h.salt[:], b[16:])
	h.firstIndex = binary.LittleEndian.Uint64(b[24:])
	h.createdUnixNS = int64(binary.LittleEndian.Uint64(b[32:]))
	h.number = binary.LittleEndian.Uint32(b[40:])
	return h, true, nil
}

// appendFrame appends f, header and payload, to b. It does not allocate where b
// has room.
func appendFrame(b []byte, marker [4]byte, seed uint32, f *Frame) []byte {
	start := len(b)
	b = append(b, marker[:]...)
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
		crc32.Update(seed, castagnoli, b[start+8:start+frameHeaderLen]))
	return append(b, f.Payload...)
}

// decodeFrameHeader reads the header of a frame; ok is false where it is none.
func decodeFrameHeader(b []byte, marker [4]byte, seed uint32) (f Frame, payloadCRC uint32,
	length int, ok bool,
) {
	b = b[:frameHeaderLen]
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

func segmentName(number uint32) string { return fmt.Sprintf("%06d%s", number, segmentSuffix) }

// segmentNumber returns false where name is not that of a segment.
func segmentNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) < 6 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || segmentName(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}

func payloadCRC(seed uint32, payload []byte) uint32 {
	return crc32.Update(seed, castagnoli, payload)
}
