package rtc

import (
	"encoding/binary"
	"testing"
	"time"
)

// dtlsRecord is a DTLS record as AES-GCM makes it.
func dtlsRecord(kind byte, sequence uint64, plaintext int) []byte {
	b := make([]byte, dtlsHeader+plaintext+24)
	b[0] = kind
	binary.BigEndian.PutUint64(b[3:], 1<<48|sequence)
	binary.BigEndian.PutUint16(b[11:], uint16(plaintext+24))
	return b
}

// chunk is a DATA or an I-DATA chunk with some payload.
func chunk(kind, flags byte, stream uint16, number, ppid uint32, payload int) []byte {
	header := map[byte]int{typeData: dataHeader, typeIData: iDataHeader}[kind]
	b := make([]byte, header+payload)
	b[0], b[1] = kind, flags
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[8:], stream)
	if kind == typeData {
		binary.BigEndian.PutUint16(b[10:], uint16(number))
		binary.BigEndian.PutUint32(b[12:], ppid)
	} else {
		binary.BigEndian.PutUint32(b[12:], number)
		binary.BigEndian.PutUint32(b[16:], ppid)
	}
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func packet(chunks ...[]byte) []byte {
	b := make([]byte, sctpHeader)
	for _, c := range chunks {
		b = append(b, c...)
	}
	return b
}

const whole = flagBegin | flagEnd

// A message arrives with the datagram of its last fragment, whatever else comes between.
func TestArrivals(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for name, kind := range map[string]byte{"DATA": typeData, "I-DATA": typeIData} {
		t.Run(name, func(t *testing.T) {
			var a arrivals
			datagrams := 0
			pass := func(p []byte) { // datagram n arrives at n
				datagrams++
				a.onDatagram(dtlsRecord(applicationData, uint64(datagrams), len(p)), at(datagrams))
				a.onPacket(p)
			}
			want := func(stream uint16, n int) {
				t.Helper()
				if got := a.next(stream); n == 0 && !got.IsZero() || n > 0 && !got.Equal(at(n)) {
					t.Errorf("stream %d: %v, want datagram %d", stream, got, n)
				}
			}
			pass(packet(chunk(kind, whole, 1, 0, ppidDCEP, 1))) // 1: opens the channel
			pass(packet(chunk(kind, whole, 1, 1, 53, 100), chunk(kind, whole, 3, 0, 53, 7)))
			pass(packet(chunk(kind, flagBegin, 1, 2, 53, 1000)))
			pass(packet(chunk(kind, 0, 1, 2, 1, 1000)))
			pass(packet(chunk(kind, flagEnd, 1, 2, 2, 10), chunk(kind, whole, 1, 3, 53, 1))) // 5
			want(1, 2)
			want(3, 2)
			want(1, 5)
			want(1, 5)
			pass(packet(chunk(kind, whole, 1, 5, 53, 50))) // 6: 4 was lost
			pass(packet(chunk(kind, whole, 1, 4, 53, 50))) // 7
			pass(packet(chunk(kind, whole, 1, 5, 53, 50))) // 8: sent again
			want(1, 7)
			want(1, 6)
			pass(packet(chunk(kind, whole, 1, 5, 53, 50))) // 9: sent again, and read already
			pass(packet(chunk(kind, whole, 1, 6, 53, 50))) // 10
			want(1, 10)
			pass(packet(chunk(kind, whole|flagUnordered, 7, 0, 53, 50)))
			want(7, 0)
			if len(a.records) != 0 || len(a.stream(1).waiting) != 0 {
				t.Errorf("%d records and %d messages are kept", len(a.records),
					len(a.stream(1).waiting))
			}
		})
	}
}

// DTLS discards what comes twice, what is no application data, and what it cannot decrypt.
func TestArrivalsOfDiscardedRecords(t *testing.T) {
	var a arrivals
	p := packet(chunk(typeIData, whole, 1, 0, 53, 100))
	first := dtlsRecord(applicationData, 1, len(p))
	a.onDatagram(first, time.Unix(1, 0))
	a.onDatagram(first, time.Unix(2, 0))
	a.onDatagram(dtlsRecord(22, 2, 100), time.Unix(3, 0))
	a.onDatagram(dtlsRecord(applicationData, 3, 500), time.Unix(4, 0)) // cannot be decrypted
	q := packet(chunk(typeIData, whole, 1, 1, 53, 200))
	// two records in one datagram, and a piece of one
	both := append(dtlsRecord(applicationData, 4, len(q)), dtlsRecord(applicationData, 5, 30)...)
	a.onDatagram(append(both, first[:20]...), time.Unix(5, 0))
	a.onPacket(p)
	a.onPacket(q)
	for _, want := range []int64{1, 5} {
		if got := a.next(1); got.Unix() != want {
			t.Errorf("arrived at %d, want %d", got.Unix(), want)
		}
	}
	for i := range 2 * maxRecords { // which are never read
		a.onDatagram(dtlsRecord(applicationData, uint64(10+i), 50), time.Unix(6, 0))
	}
	if len(a.records) > maxRecords {
		t.Errorf("%d records are kept", len(a.records))
	}
}

// FuzzArrivals takes any packets.
func FuzzArrivals(f *testing.F) {
	f.Add(dtlsRecord(applicationData, 1, 60), packet(chunk(typeData, whole, 1, 0, 53, 20)))
	f.Add([]byte{applicationData}, packet([]byte{0, 3, 0, 3}))
	f.Fuzz(func(t *testing.T, datagram, packet []byte) {
		var a arrivals
		a.onDatagram(datagram, time.Unix(1, 0))
		a.onPacket(packet)
		_ = a.next(1)
		for _, s := range a.streams {
			if len(s.waiting) > 1<<15 {
				t.Errorf("%d messages are kept", len(s.waiting))
			}
		}
	})
}

// BenchmarkArrivals is what finding the arrival of one message costs, if it has a datagram of its
// own.
func BenchmarkArrivals(b *testing.B) {
	var a arrivals
	p := packet(chunk(typeIData, whole, 1, 0, 53, 200))
	d := dtlsRecord(applicationData, 0, len(p))
	now := time.Now()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(d[3:], 1<<48|uint64(i+1))
		binary.BigEndian.PutUint32(p[sctpHeader+12:], uint32(i))
		a.onDatagram(d, now)
		a.onPacket(p)
		if a.next(1) != now {
			b.Fatal(i)
		}
	}
}
