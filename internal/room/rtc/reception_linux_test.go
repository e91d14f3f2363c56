package rtc_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"golang.org/x/sys/unix"

	"github.com/syncflow/textegress/internal/room/rtc"
	"github.com/syncflow/textegress/internal/room/rtc/rtctest"
	"github.com/syncflow/textegress/internal/udp"
)

var (
	reception = flag.Bool("reception", false, "run TestReception: a table, no thresholds")
	rounds    = flag.Int("rounds", 3, "with -reception: runs of each row")
	only      = flag.String("only", "", "with -reception: rows whose name has this in it")
)

// receptionCase is a load: messages of 200 bytes into rooms.
type receptionCase struct {
	Name    string
	Rooms   int
	Rate    float64 // messages a second in each room; 0: as fast as it goes
	Seconds float64
	Burst   int // messages of each room without a rate
}

var receptionCases = []receptionCase{
	{Name: "sparse, 100 rooms x 10/s", Rooms: 100, Rate: 10, Seconds: 15},
	{Name: "dense, 1 room x 4000/s", Rooms: 1, Rate: 4000, Seconds: 8},
	{Name: "burst, 1 room x 100,000", Rooms: 1, Burst: 100_000},
}

// The sockets and times that are compared.
var receptionVariants = []string{
	"net, read", "net, kernel", "poller, read", "poller, kernel", "paced poller, read",
	"paced poller, kernel",
}

// receptionResult is of one run.
type receptionResult struct {
	CPU         float64 // s per 100,000 messages
	RSS         float64 // KB per room
	Median, P99 float64 // ms: time of a message less its arrival in the kernel
	Worst       float64 // ms
	Messages    int
	Unmatched   int     // arrival not known
	Outside     int     // arrival before the message was sent, or after it was read
	Load        float64 // of the machine
}

// receptionRun is what a process of a run is told.
type receptionRun struct {
	Case    receptionCase
	Variant string
	Errors  bool // measure the error of times, else what it costs
}

// TestReception compares ways of reading datagrams and of telling when a message arrived:
//
//	make bench-udp
//
// Each run has a process that receives, whose CPU and memory are counted, and one that sends. What
// it costs and the error of times are measured in separate runs, because the error cannot be known
// without the arrival. Rows of one round follow each other, so that other work on the machine hits
// all of them.
func TestReception(t *testing.T) {
	if role := os.Getenv("RECEPTION"); role != "" {
		var r receptionRun
		if err := json.Unmarshal([]byte(os.Getenv("RECEPTION_RUN")), &r); err != nil {
			t.Fatal(err)
		}
		if role == "send" {
			sendReception(t, r)
		} else {
			receive(t, r)
		}
		return
	}
	if !*reception {
		t.Skip("only with -reception")
	}
	messages, unmatched, outside := 0, 0, 0
	results := map[string][]receptionResult{}
	for round := range *rounds {
		for _, c := range receptionCases {
			for _, v := range receptionVariants {
				if !strings.Contains(c.Name+": "+v, *only) {
					continue
				}
				cost := runReception(t, receptionRun{Case: c, Variant: v})
				errs := runReception(t, receptionRun{Case: c, Variant: v, Errors: true})
				cost.Median, cost.P99, cost.Worst = errs.Median, errs.P99, errs.Worst
				cost.Unmatched, cost.Outside, cost.Load = errs.Unmatched, errs.Outside,
					loadAverage()
				messages, unmatched = messages+errs.Messages, unmatched+errs.Unmatched
				outside += errs.Outside
				results[c.Name+v] = append(results[c.Name+v], cost)
				fmt.Fprintf(os.Stderr, "round %d, %s: %s: %+v\n", round+1, c.Name, v, cost)
			}
		}
	}
	fmt.Printf("%d cores, %s; %d runs of each row, one after the other\n\n", runtime.NumCPU(),
		runtime.Version(), *rounds)
	fmt.Println("| case | sockets, times | CPU per 100k messages (s) | RSS per room (KB) | " +
		"error, median (ms) | error, p99 (ms) | load |\n|---|---|---|---|---|---|---|")
	for _, c := range receptionCases {
		for _, v := range receptionVariants {
			rs := results[c.Name+v]
			if len(rs) == 0 {
				continue
			}
			column := func(format string, of func(receptionResult) float64) string {
				var xs []float64
				for _, r := range rs {
					xs = append(xs, of(r))
				}
				slices.Sort(xs)
				median := (xs[len(xs)/2] + xs[(len(xs)-1)/2]) / 2
				return fmt.Sprintf(format+" ("+format+" – "+format+")", median, xs[0],
					xs[len(xs)-1])
			}
			rss := "–"
			if c.Rooms > 1 {
				rss = column("%.0f", func(r receptionResult) float64 { return r.RSS })
			}
			fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", c.Name, v,
				column("%.2f", func(r receptionResult) float64 { return r.CPU }), rss,
				column("%.3f", func(r receptionResult) float64 { return r.Median }),
				column("%.2f", func(r receptionResult) float64 { return r.P99 }),
				column("%.0f", func(r receptionResult) float64 { return r.Load }))
		}
	}
	fmt.Printf("\nOf %d messages, %d have no arrival, and %d one that is not between sending and "+
		"reading.\n", messages, unmatched, outside)
}

// self runs this test in a process of its own.
func self(t *testing.T, role string, r receptionRun) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run", "^TestReception$", "-test.timeout", "10m")
	c.Env = append(os.Environ(), "RECEPTION="+role, "RECEPTION_RUN="+string(b), "GOGC=50")
	c.Stderr = os.Stderr
	return c
}

func runReception(t *testing.T, r receptionRun) receptionResult {
	t.Helper()
	out, err := self(t, "receive", r).Output()
	if err != nil {
		t.Fatalf("%+v: %v\n%s", r, err, out)
	}
	var result receptionResult
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &result); err != nil {
		t.Fatalf("%+v: %v\n%s", r, err, out)
	}
	return result
}

// variantNet is a network with the sockets of a variant: of package net, or of a poller.
type variantNet struct {
	*stdnet.Net
	poller     *udp.Poller // nil: package net
	timestamps bool
}

func (n variantNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	if n.poller != nil {
		c, err := n.poller.Listen(network, a)
		if err == nil {
			err = c.SetReadBuffer(1 << 20)
		}
		return c, err
	}
	c, err := net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	if err := c.SetReadBuffer(1 << 20); err != nil {
		return nil, err
	}
	if !n.timestamps {
		return netConn{c}, nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var soErr error
	err = raw.Control(func(fd uintptr) {
		soErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	return timedNetConn{netConn{c}, make([]byte, 64)}, errors.Join(err, soErr)
}

// netConn is a socket of package net.
type netConn struct{ *net.UDPConn }

func (c netConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return c.ReadFromUDPAddrPort(b)
}

func (c netConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteToUDPAddrPort(b, to)
}

// timedNetConn is one with the kernel's times. (Package udp has what is right on all systems.)
type timedNetConn struct {
	netConn
	oob []byte // of whoever reads
}

func (c timedNetConn) ReadArrival(b []byte) (int, netip.AddrPort, time.Time, error) {
	n, oobn, _, from, err := c.ReadMsgUDPAddrPort(b, c.oob)
	now := time.Now()
	if err != nil || oobn < unix.CmsgLen(16) {
		return n, from, now, err
	}
	at := time.Unix(int64(binary.NativeEndian.Uint64(c.oob[unix.CmsgLen(0):])),
		int64(binary.NativeEndian.Uint64(c.oob[unix.CmsgLen(8):])))
	return n, from, now.Add(-now.Sub(at)), nil
}

// receive is the process that is measured.
func receive(t *testing.T, r receptionRun) {
	sockets, times, _ := strings.Cut(r.Variant, ", ")
	n := variantNet{timestamps: times == "kernel" || r.Errors}
	switch sockets {
	case "poller":
		n.poller = &udp.Poller{}
	case "paced poller":
		n.poller = &udp.Poller{Interval: udp.Interval}
	}
	var err error
	if n.Net, err = stdnet.NewNet(); err != nil {
		t.Fatal(err)
	}
	api, err := rtc.New(rtc.Options{Net: n})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	total := r.Case.Burst * r.Case.Rooms
	if r.Case.Rate > 0 {
		total = int(r.Case.Rate*r.Case.Seconds) * r.Case.Rooms
	}
	lag := make([]float64, 0, total)
	unmatched, outside := 0, 0
	var last atomic.Pointer[time.Time]
	var onArrival func(time.Time)
	if r.Errors {
		// It is called on the goroutine that delivers right after it. With several rooms the
		// deliveries are told apart by the lock that is held from the one to the other.
		onArrival = func(at time.Time) { mu.Lock(); last.Store(&at) }
	}
	api.Compare(times == "read", onArrival)
	dir := t.TempDir()
	var got atomic.Int64
	done := make(chan struct{})
	base := rss()
	cmd := self(t, "send", r)
	in, _ := cmd.StdinPipe()
	outPipe, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReaderSize(outPipe, 1<<20)
	for i := range r.Case.Rooms {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		conn, err := api.NewConn(context.Background(), "127.0.0.1",
			func(_ rtc.Channel, said time.Time, b []byte) {
				if r.Errors {
					at := *last.Load()
					sent, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
					switch {
					case at.IsZero():
						unmatched++
					case at.UnixNano() < sent || at.After(time.Now()):
						outside++
						fallthrough
					default:
						lag = append(lag, said.Sub(at).Seconds()*1000)
					}
					mu.Unlock()
				}
				_, _ = f.Write(b) // as the recorder
				if got.Add(1) == int64(total) {
					close(done)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		o, err := conn.Offer(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(o.SDP)
		fmt.Fprintf(in, "%s\n", b)
		line, err := out.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var answer string
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := conn.Answer(o.ID, answer); err != nil {
			t.Fatal(err)
		}
		for e := range conn.Events() {
			if e.Kind == rtc.Opened {
				break
			}
		}
	}
	debug.FreeOSMemory()
	memory := rss()
	before := cpu(t)
	fmt.Fprintln(in, `"go"`)
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatalf("%d of %d messages", got.Load(), total)
	}
	spent := cpu(t) - before
	_ = in.Close()
	_ = cmd.Wait()
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(lag)
	at := func(xs []float64, q float64) float64 {
		if len(xs) == 0 {
			return 0
		}
		return xs[min(int(q*float64(len(xs))), len(xs)-1)]
	}
	b, err := json.Marshal(receptionResult{
		CPU: spent.Seconds() / (float64(total) / 100_000),
		RSS: float64(memory-base) / 1024 / float64(r.Case.Rooms), Messages: total,
		Unmatched: unmatched, Outside: outside, Median: at(lag, 0.5), P99: at(lag, 0.99),
		Worst: at(lag, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(b))
	os.Exit(0) // it has said what it had to say
}

// sendReception is the process that sends: it answers offers and, told to go, sends.
func sendReception(t *testing.T, r receptionRun) {
	server := rtctest.NewServer(t, rtc.Timeouts{
		Disconnected: 30 * time.Second, Failed: 60 * time.Second, Keepalive: 2 * time.Second,
	})
	var peers []*rtctest.Peer
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var s string
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		if s == "go" {
			break
		}
		p := server.NewPeer(t)
		b, _ := json.Marshal(p.Answer(s))
		fmt.Printf("%s\n", b)
		peers = append(peers, p)
	}
	payload := func() []byte {
		return fmt.Appendf(make([]byte, 0, 200), "%-200d", time.Now().UnixNano())
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i, p := range peers {
		dc := p.Channel("_reliable")
		wg.Go(func() {
			if r.Case.Rate == 0 {
				for range r.Case.Burst {
					for dc.BufferedAmount() > 1<<20 {
						time.Sleep(time.Millisecond)
					}
					_ = dc.Send(payload())
				}
				return
			}
			// Rooms send at different times.
			gap := time.Duration(float64(time.Second) / r.Case.Rate)
			start := began.Add(gap * time.Duration(i) / time.Duration(len(peers)))
			for n := range int(r.Case.Rate * r.Case.Seconds) {
				time.Sleep(time.Until(start.Add(gap * time.Duration(n))))
				_ = dc.Send(payload())
			}
		})
	}
	wg.Wait()
	_, _ = io.Copy(io.Discard, in) // until the receiver has all
	os.Exit(0)
}

func loadAverage() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}

func rss() int {
	b, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize()
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
