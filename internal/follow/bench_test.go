package follow

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

// BenchmarkFollowers measures the processor time per message, fsync included, that is appended to a
// recording and read by each follower. A round is what a second of a thousand messages makes
// durable at once, with the default SYNC_INTERVAL.
func BenchmarkFollowers(b *testing.B) {
	const round = 200
	for _, n := range []int{0, 1, 50} {
		b.Run(fmt.Sprintf("followers=%d", n), func(b *testing.B) {
			sp, err := spool.Open(filepath.Join(b.TempDir(), "data"), spool.Options{
				SyncInterval: time.Hour,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer sp.Close()
			rec, err := sp.Create(spool.Info{EgressID: testID, SessionID: "s"})
			if err != nil {
				b.Fatal(err)
			}
			w, err := rec.Writer()
			if err != nil {
				b.Fatal(err)
			}
			hub := New(Options{Spool: sp})
			defer hub.Close()
			frames := texts(round, 170)
			var readers, reading sync.WaitGroup
			var followers []*Reader
			for range n {
				r, err := hub.Follow(testID, 1)
				if err != nil {
					b.Fatal(err)
				}
				followers = append(followers, r)
				readers.Go(func() {
					for {
						lines, err := r.Batch(b.Context())
						if err != nil {
							if !errors.Is(err, ErrClosed) && !errors.Is(err, io.EOF) {
								b.Error(err)
							}
							return
						}
						for i := range lines {
							if lines[i].N%round == 0 {
								reading.Done()
							}
						}
					}
				})
			}
			before, messages := processTime(b), 0
			for b.Loop() {
				reading.Add(n)
				for _, f := range frames {
					if err := w.Append(f); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Sync(); err != nil {
					b.Fatal(err)
				}
				reading.Wait()
				messages += round
			}
			spent := processTime(b) - before
			b.ReportMetric(float64(spent.Microseconds())/float64(messages), "cpu-µs/message")
			for _, r := range followers {
				r.Close()
			}
			readers.Wait()
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
