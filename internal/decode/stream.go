package decode

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
)

// stream is an open stream.
type stream struct {
	sender *sender
	id     string
	order  uint64 // position in the order of opening
	active uint64 // packet count at the last packet

	duplicate bool                       // the first packet may be a duplicate
	header    *livekit.DataStream_Header // nil until received
	headerSum headerSum
	// sequence number of the header on the sender's current connection; 0 also if sent on an
	// earlier one
	headerSeq     uint32
	sequence      uint32 // sequence number of the header on its own connection
	startedNS     int64  // this and the fields up to encryption are those of the first packet
	identity, sid string
	reliable      *bool
	destinations  []string
	encryption    *textegress.EncryptionInfo
	reused        bool     // the sender has used the id before
	continuedBy   []string // the sids of its sender's later connections

	rec record
	// dense holds the chunks base, base+1, …; sparse holds all others. Chunks arrive in order, so
	// sparse is almost always empty.
	dense  []chunk
	base   uint64
	sparse map[uint64]chunk
	low    uint64 // the lowest index
	top    uint64 // the highest index
	size   int64  // size of the chunks in bytes

	ignored   uint64
	rewritten bool   // a chunk had a version other than 0
	minSeq    uint32 // lowest sequence number of the chunks; 0 also if one was unsequenced
	chunkMax  uint32 // highest sequence number of the chunks
	maxSeq    uint32 // highest sequence number of all packets
	failure   string // why the stream can no longer be complete
	memory    int64  // accounted to the stream
}

// headerSum distinguishes a repeated header from another one with the same stream id.
type headerSum [8]byte

func headerSumOf(h *livekit.DataStream_Header) headerSum {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		return headerSum{}
	}
	s := sha256.Sum256(b)
	return headerSum(s[:8])
}

func (s *stream) fail(why string) {
	if s.failure == "" {
		s.failure = why
	}
}

// at returns the chunk with the given index.
func (s *stream) at(index uint64) (chunk, bool) {
	if i := index - s.base; index >= s.base && i < uint64(len(s.dense)) {
		return s.dense[i], true
	}
	c, ok := s.sparse[index]
	return c, ok
}

func (s *stream) put(index uint64, c chunk) {
	if s.count() == 0 {
		s.base, s.low = index, index
	}
	s.low, s.top = min(s.low, index), max(s.top, index)
	i := index - s.base
	switch n := uint64(len(s.dense)); {
	case index >= s.base && i < n:
		s.dense[i] = c
		return
	case index < s.base || i > n:
		if s.sparse == nil {
			s.sparse = map[uint64]chunk{}
		}
		s.sparse[index] = c
		return
	}
	s.dense = append(s.dense, c)
	for len(s.sparse) > 0 {
		next := s.base + uint64(len(s.dense))
		c, ok := s.sparse[next]
		if !ok || next < s.base {
			return
		}
		delete(s.sparse, next)
		s.dense = append(s.dense, c)
	}
}

func (s *stream) count() uint64 { return uint64(len(s.dense)) + uint64(len(s.sparse)) }

// missing returns the number of missing chunks below the highest index.
func (s *stream) missing() uint64 {
	n := s.count()
	if n == 0 {
		return 0
	}
	return s.top - (n - 1)
}

// holes returns the number of missing chunks between the lowest and the highest index.
func (s *stream) holes() uint64 {
	if s.count() == 0 {
		return 0
	}
	return s.missing() - s.low
}

// add stores a chunk.
func (s *stream) add(c *livekit.DataStream_Chunk, seq uint32) error {
	if s.count() == 0 && s.ignored == 0 || seq < s.minSeq {
		s.minSeq = seq
	}
	s.chunkMax = max(s.chunkMax, seq)
	s.maxSeq = max(s.maxSeq, seq)
	index, version, content := c.GetChunkIndex(), c.GetVersion(), c.GetContent()
	s.rewritten = s.rewritten || version != 0
	old, ok := s.at(index)
	if ok && version <= old.version {
		s.ignored++
		if version < old.version {
			return nil
		}
		same, err := s.equals(old, content)
		if err == nil && !same {
			s.fail(textegress.StreamConflict)
		}
		return err
	}
	offset, err := s.rec.append(content)
	if err != nil {
		return err
	}
	if ok {
		s.ignored++ // the earlier version
	}
	s.size += int64(len(content)) - int64(old.size)
	s.put(index, chunk{offset: offset, size: uint32(len(content)), version: version})
	return nil
}

// equals reports whether the content of a chunk is b.
func (s *stream) equals(c chunk, b []byte) (bool, error) {
	if int(c.size) != len(b) {
		return false, nil
	}
	var buf [4096]byte
	for offset := c.offset; len(b) > 0; {
		n := min(len(b), len(buf))
		if err := s.rec.readAt(buf[:n], offset); err != nil {
			return false, err
		}
		if !bytes.Equal(buf[:n], b[:n]) {
			return false, nil
		}
		b, offset = b[n:], offset+int64(n)
	}
	return true, nil
}

// chunks returns all chunks in the order of their indexes.
func (s *stream) chunks() [][]chunk {
	if len(s.sparse) == 0 {
		return [][]chunk{s.dense}
	}
	var below, above []chunk
	for _, i := range slices.Sorted(maps.Keys(s.sparse)) {
		if i < s.base {
			below = append(below, s.sparse[i])
		} else {
			above = append(above, s.sparse[i])
		}
	}
	return [][]chunk{below, s.dense, above}
}

// prefix returns the chunks from index first up to the first missing one.
func (s *stream) prefix(first uint64) [][]chunk {
	switch {
	case s.low == first && s.holes() == 0:
		return s.chunks()
	case s.base == 0:
		return [][]chunk{s.dense}
	}
	return nil
}

// cost is the approximate number of bytes of memory that the stream occupies.
func (s *stream) cost() int64 {
	n := 1024 + len(s.id) + cap(s.rec.head) + 4*cap(s.rec.blocks) + 16*cap(s.dense) +
		64*len(s.sparse) + 64*len(s.continuedBy)
	if s.header != nil {
		n += 2 * proto.Size(s.header)
	}
	return int64(n)
}
