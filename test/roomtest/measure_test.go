package roomtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

var (
	measure = flag.Bool("measure", false, "run TestMeasure: figures, no thresholds")
	heap    = flag.String("heap", "", "with -measure: write a heap profile of the idle rooms "+
		"to this file")
)

// TestMeasure reports what joining takes and what an idle room costs. It runs alone: go test -run
// Measure -measure -v.
func TestMeasure(t *testing.T) {
	if !*measure {
		t.Skip("only with -measure")
	}
	l, err := stack.StartLiveKit(t.Context(), stack.LiveKitOptions{LogLevel: "error"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := newClient(t)
	join := func(name string) *room.Conn {
		token, err := l.Token("recorder", stack.RecorderGrants(name))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Join(context.Background(), room.JoinOptions{
			URL: l.URL, Token: token,
			Handler: silent{},
		})
		if err != nil {
			t.Error(err)
		}
		return conn
	}

	var single []time.Duration
	for i := range 20 {
		begin := time.Now()
		conn := join(fmt.Sprintf("single-%d", i))
		single = append(single, time.Since(begin))
		conn.Leave(context.Background())
	}
	slices.Sort(single)
	t.Logf("join of one room: median %v, slowest %v of 20", single[10].Round(time.Millisecond),
		single[19].Round(time.Millisecond))

	const rooms, parallel = 200, 16
	base, goroutines := settledRSS(t), runtime.NumGoroutine()
	begin := time.Now()
	var conns []*room.Conn
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan int)
	for range parallel {
		wg.Go(func() {
			for i := range next {
				conn := join(fmt.Sprintf("many-%d", i))
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
			}
		})
	}
	for i := range rooms {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Logf("join of %d rooms, %d at a time: %v", rooms, parallel,
		time.Since(begin).Round(time.Millisecond))
	raw := rss(t)
	t.Logf("idle room at %d: %d KB RSS (%d KB without giving memory back), %.1f goroutines; "+
		"process %d MB before",
		rooms, (settledRSS(t)-base)/rooms/1024, (raw-base)/rooms/1024,
		float64(runtime.NumGoroutine()-goroutines)/rooms, base>>20)
	if *heap != "" {
		f, err := os.Create(*heap)
		if err != nil {
			t.Fatal(err)
		}
		_ = pprof.Lookup("heap").WriteTo(f, 0)
		_ = f.Close()
		_ = os.WriteFile(*heap+".goroutines", []byte(stacks()), 0o644)
	}
	const idle = 20 * time.Second
	cpu := cpuTime(t)
	timer := time.NewTimer(idle)
	<-timer.C
	t.Logf("idle CPU: %.2f ms per room and second",
		float64((cpuTime(t)-cpu).Microseconds())/1000/idle.Seconds()/rooms)
	begin = time.Now()
	for _, conn := range conns {
		wg.Go(func() { conn.Leave(context.Background()) })
	}
	wg.Wait()
	t.Logf("leaving %d rooms at once: %v", rooms, time.Since(begin).Round(time.Millisecond))
}

type silent struct{}

func (silent) Joined(room.Info) error                       { return nil }
func (silent) Packet(_ room.Channel, _ time.Time, _ []byte) {}
func (silent) Event(room.Event)                             {}

// settledRSS is the memory after everything unused has been given back.
func settledRSS(t *testing.T) int {
	debug.FreeOSMemory()
	return rss(t)
}

func rss(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
