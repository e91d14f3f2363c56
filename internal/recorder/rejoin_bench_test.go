package recorder_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// rejoinDir and rejoinSize tell a child process of BenchmarkRejoin where to record, and how much.
const (
	rejoinDir  = "TEXTEGRESS_REJOIN_DIR"
	rejoinSize = "TEXTEGRESS_REJOIN_SIZE"
)

// TestRejoinChild is the process that is killed in BenchmarkRejoin.
func TestRejoinChild(t *testing.T) {
	dir := os.Getenv(rejoinDir)
	if dir == "" {
		t.Skip("only in BenchmarkRejoin")
	}
	size, err := strconv.Atoi(os.Getenv(rejoinSize))
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Create(spool.Info{EgressID: "DE_long", SessionID: sessionID, ProjectID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	payload := strings.Repeat("x", 1000)
	r := &fakeRoom{steps: []step{{
		info: info("RM_1", ours, "alice", "bob"),
		run: func(h room.Handler, _ <-chan struct{}) room.Reason {
			for range size / len(payload) {
				packet(h, payload)
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			return room.ReasonLeft
		},
	}}}
	w := &world{t: t, spool: s, rec: rec, room: r, auth: &fakeAuthority{}}
	_ = recorder.New(rec, w.options()).Run(t.Context())
}

// BenchmarkRejoin measures the time from the start of a process to its recorder being in the room
// again (which answers at once), after a kill -9 in a recording of this size, and what is read and
// synced until then. Run it with -benchtime 1x: later rounds continue a recording that has been
// continued already.
func BenchmarkRejoin(b *testing.B) {
	for _, size := range []int{
		1_000_000, // in one segment
		// in one segment that is nearly full, which is the most that is read
		64_000_000,
		1_029_500_000, // in seventeen segments, of which the last has 1 MB
	} {
		b.Run(fmt.Sprintf("%dMB", size/1_000_000), func(b *testing.B) {
			dir := b.TempDir()
			child := exec.Command(os.Args[0], "-test.run=^TestRejoinChild$")
			child.Env = append(os.Environ(), rejoinDir+"="+dir, rejoinSize+"="+strconv.Itoa(size))
			if err := child.Run(); err == nil || !strings.Contains(err.Error(), "killed") {
				b.Fatalf("the recording process was not killed: %v", err)
			}
			for b.Loop() {
				rejoin(b, dir)
			}
		})
	}
}

func rejoin(b *testing.B, dir string) {
	fsys := counting(durable.OS{})
	began := time.Now()
	s, err := spool.Open(dir, spool.Options{FS: fsys})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rec, _ := s.Recording("DE_long")
	r := &fakeRoom{steps: []step{{
		info: info("RM_1", ours, "alice", "bob"),
		run: func(room.Handler, <-chan struct{}) room.Reason {
			took := time.Since(began)
			bytes, syncs := fsys.totals()
			b.ReportMetric(float64(took.Microseconds())/1000, "ms-to-rejoin")
			b.ReportMetric(float64(bytes), "B-read")
			b.ReportMetric(float64(syncs), "fsyncs")
			return room.ReasonRoomDeleted
		},
	}}}
	o := recorder.Options{
		Room: r, Authority: &fakeAuthority{}, Logger: slog.New(slog.DiscardHandler),
		SessionOf: syncflow.SessionOf,
	}
	if err := recorder.New(rec, o).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}
