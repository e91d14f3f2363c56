package rtc

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// arrivals determines when a message arrived in the kernel: the arrival time of the datagram with
// its last fragment. Datagrams carry the kernel's timestamp, but DTLS and SCTP do not pass it on.
// The timestamp is therefore matched twice, by properties that neither layer changes:
//
//	datagram ──▶ its DTLS records ──▶ data that SCTP reads from DTLS, in order
//	SCTP packet ──▶ last fragments, by stream and number ──▶ messages of the stream
//
// A message that cannot be matched, for example on an unordered channel, has no arrival time.
type arrivals struct {
	mu      sync.Mutex
	records []record  // passed to DTLS and not yet read by SCTP
	few     [4]record // initial array of records
	seen    replayWindow
	streams map[uint16]*streamArrivals
}

// record is a DTLS record with application data.
type record struct {
	bytes int // including header and encryption overhead
	at    time.Time
}

const (
	dtlsHeader      = 13
	applicationData = 23
	// Encryption adds between 16 bytes (a tag) and 52 (a MAC with initialisation vector and
	// padding).
	minOverhead, maxOverhead = 16, 64
	// maxRecords bounds the number of records kept, in case DTLS discards datagrams.
	maxRecords = 4096
)

// onDatagram stores the records of a datagram that DTLS will read.
func (a *arrivals) onDatagram(b []byte, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(b) >= dtlsHeader {
		n := dtlsHeader + int(binary.BigEndian.Uint16(b[11:]))
		epochAndSequence := binary.BigEndian.Uint64(b[3:])
		if n > len(b) {
			return
		}
		// DTLS discards duplicate records.
		if b[0] == applicationData && a.seen.add(epochAndSequence) {
			if len(a.records) >= maxRecords {
				a.records = a.few[:0]
			}
			a.records = append(a.records, record{bytes: n - dtlsHeader, at: at})
		}
		b = b[n:]
	}
}

// onPacket stores the last fragments in an SCTP packet that was read from DTLS.
func (a *arrivals) onPacket(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.nextRecord(len(b))
	if !ok {
		return
	}
	for b = b[min(sctpHeader, len(b)):]; len(b) >= chunkHeader; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < chunkHeader || n > len(b) {
			return
		}
		a.onChunk(b[:n], at)
		b = b[min((n+3)&^3, len(b)):]
	}
}

// SCTP: RFC 9260, and RFC 8260 for I-DATA, which pion uses if the peer supports it.
const (
	sctpHeader, chunkHeader           = 12, 4
	typeData, dataHeader              = 0, 16
	typeIData, iDataHeader            = 64, 20
	flagEnd, flagBegin, flagUnordered = 1, 2, 4
	// payload protocol of the messages that open a channel (RFC 8832)
	ppidDCEP = 50
)

// onChunk stores the arrival of a chunk that is the last fragment of a message. a.mu is held.
func (a *arrivals) onChunk(b []byte, at time.Time) {
	flags := b[1]
	if flags&flagEnd == 0 || flags&flagUnordered != 0 {
		return
	}
	switch {
	case b[0] == typeData && len(b) >= dataHeader:
		s := a.stream(binary.BigEndian.Uint16(b[8:]))
		ahead := binary.BigEndian.Uint16(b[10:]) - uint16(s.first)
		s.add(int(ahead), at, binary.BigEndian.Uint32(b[12:]) == ppidDCEP)
	case b[0] == typeIData && len(b) >= iDataHeader:
		s := a.stream(binary.BigEndian.Uint16(b[8:]))
		ahead := binary.BigEndian.Uint32(b[12:]) - s.first
		// Only the first fragment has the payload protocol identifier. DCEP messages have only one
		// fragment.
		dcep := flags&flagBegin != 0 && binary.BigEndian.Uint32(b[16:]) == ppidDCEP
		s.add(int(ahead), at, dcep)
	}
}

// nextRecord returns the arrival time of the next record with the given number of bytes of
// plaintext. It skips the records before it, which DTLS has discarded.
func (a *arrivals) nextRecord(plaintext int) (time.Time, bool) {
	for i, r := range a.records {
		if d := r.bytes - plaintext; d >= minOverhead && d <= maxOverhead {
			if a.records = a.records[i+1:]; len(a.records) == 0 {
				a.records = a.few[:0]
			}
			return r.at, true
		}
	}
	return time.Time{}, false
}

func (a *arrivals) stream(id uint16) *streamArrivals {
	s := a.streams[id]
	if s == nil {
		s = &streamArrivals{}
		if a.streams == nil {
			a.streams = map[uint16]*streamArrivals{}
		}
		a.streams[id] = s
	}
	return s
}

// next returns the arrival time of the next message of a stream, or the zero time if it is unknown.
// It must be called once for each message.
func (a *arrivals) next(stream uint16) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stream(stream).next()
}

// streamArrivals contains the arrival times of messages that have not been read yet, by sequence
// number.
type streamArrivals struct {
	first   uint32 // sequence number of waiting[0]; 16 bits for DATA chunks
	waiting []waitingMessage
	few     [4]waitingMessage // initial array of waiting
}

type waitingMessage struct {
	at   time.Time // zero: unknown
	dcep bool
}

// add stores the arrival time of the message that is i messages after the next one.
func (s *streamArrivals) add(i int, at time.Time, dcep bool) {
	if i >= 1<<15 { // retransmission of a message that has been read
		return
	}
	for len(s.waiting) <= i {
		s.waiting = append(s.waiting, waitingMessage{})
	}
	if s.waiting[i].at.IsZero() {
		s.waiting[i] = waitingMessage{at: at, dcep: dcep}
	}
}

func (s *streamArrivals) next() time.Time {
	for {
		var m waitingMessage
		s.first++
		if len(s.waiting) > 0 {
			m, s.waiting = s.waiting[0], s.waiting[1:]
		}
		if len(s.waiting) == 0 {
			s.waiting = s.few[:0]
		}
		if !m.dcep {
			return m.at
		}
	}
}

// replayWindow detects record numbers that were seen before, as DTLS does (RFC 6347, section
// 4.1.2.6).
type replayWindow struct {
	highest uint64
	bits    uint64 // whether highest, highest-1, … have been seen
}

// add reports whether n is new.
func (w *replayWindow) add(n uint64) bool {
	switch {
	case n > w.highest:
		if d := n - w.highest; d < 64 {
			w.bits <<= d
		} else {
			w.bits = 0
		}
		w.highest, w.bits = n, w.bits|1
		return true
	case w.highest-n >= 64 || w.bits&(1<<(w.highest-n)) != 0:
		return false
	}
	w.bits |= 1 << (w.highest - n)
	return true
}

// arrivalConn connects DTLS and SCTP.
type arrivalConn struct {
	net.Conn
	arrivals *arrivals
}

func (c arrivalConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.arrivals.onPacket(b[:n])
	}
	return n, err
}
