package spool

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/segment"
)

// BenchmarkRound is a round of the syncer: in each of so many recordings two frames
// were appended. It reports the CPU time of this process and the time until all are
// durable, each for one round.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{startFirst - 1, 20, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			const interval = 20 * time.Millisecond
			s, err := Open(b.TempDir(), Options{SyncInterval: interval})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var writers []*Writer
			for range n {
				r, err := s.Create(Info{})
				if err != nil {
					b.Fatal(err)
				}
				w, err := r.Writer()
				if err != nil {
					b.Fatal(err)
				}
				writers = append(writers, w)
			}
			f := segment.Frame{Type: segment.FramePacket, Payload: make([]byte, 200)}
			var cpu, wall time.Duration
			for b.Loop() {
				for _, w := range writers {
					for range 2 {
						if err := w.Append(f); err != nil {
							b.Fatal(err)
						}
					}
				}
				before, began := processTime(b), time.Now()
				for _, w := range writers {
					for w.Durable() < w.Recorded() {
						time.Sleep(time.Millisecond)
					}
				}
				cpu += processTime(b) - before
				wall += time.Since(began)
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/float64(n), "cpu-µs/file")
			b.ReportMetric(float64(wall.Microseconds())/float64(b.N)/1000, "ms/round")
		})
	}
}

func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
