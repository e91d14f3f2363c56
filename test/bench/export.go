package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// Figures of deriving, verifying and delivering the objects of a long recording. Raw input is the
// segments on disk.
func exportRate(millions int) string { return ofMillions("export", millions, "raw input (MB/s)") }

func exportCPU(millions int) string {
	return ofMillions("export", millions, "CPU per 100k messages (s)")
}

func exportPeak(millions int) string {
	return ofMillions("export", millions,
		"peak memory, RSS (MB)")
}
func verifyRate(millions int) string { return ofMillions("verify", millions, "raw input (MB/s)") }
func verifyPeak(millions int) string {
	return ofMillions("verify", millions,
		"peak memory, RSS (MB)")
}

func deliveryRate(millions int) string {
	return ofMillions("delivery to S3", millions, "raw input (MB/s)")
}

func deliveryCPU(millions int) string {
	return ofMillions("delivery to S3", millions, "CPU per 100k messages (s)")
}

func deliveryPeak(millions int) string {
	return ofMillions("delivery to S3", millions, "peak memory, RSS (MB)")
}

func ofMillions(what string, millions int, figure string) string {
	return fmt.Sprintf("%s of %d million messages, %s", what, millions, figure)
}

// export writes a recording of the given number of million messages into the data directory of a
// stopped recorder. It then measures three processes of the real binary: `textegress export`,
// `textegress verify` on the exported objects, and the service, which delivers the recording. All
// three results must contain every message.
func export(whole, quick int) runFunc {
	return func(ctx context.Context, w *world) ([]measured, error) {
		millions := whole
		if w.o.Quick {
			millions = quick
		}
		name := w.name("long")
		dir := filepath.Join(w.o.Dir, name)
		defer os.RemoveAll(dir) //nolint:errcheck // the whole directory is removed at the end
		r, err := w.servers.NewRecorder(ctx, dir)
		if err != nil {
			return nil, err
		}
		p := w.project()
		long := synthetic{
			egressID: fmt.Sprintf("DE_long%08d", w.n), instance: "bench",
			messages: millions * 1_000_000, participants: 24,
			project: textegress.Project{ID: p.ID, Name: p.Name},
			session: textegress.Session{ID: name, RoomName: name},
		}
		made, err := long.write(ctx, filepath.Join(dir, "textegress-data"))
		if err != nil {
			return nil, err
		}
		out := filepath.Join(dir, "exported")
		exported, err := run(ctx, r, made.messages, "export", "--json", long.egressID, out)
		if err != nil {
			return nil, err
		}
		verified, err := run(ctx, r, made.messages, "verify", "--json", out)
		if err != nil {
			return nil, err
		}
		if err := os.RemoveAll(out); err != nil {
			return nil, err
		}
		delivered, err := w.deliver(ctx, r, long.session.ID, made.messages)
		if err != nil {
			return nil, err
		}
		mb, hundredThousands := float64(made.bytes)/1e6, float64(made.messages)/100_000
		return []measured{
			{exportRate(millions), mb / exported.took.Seconds()},
			{exportCPU(millions), exported.cpu.Seconds() / hundredThousands},
			{exportPeak(millions), exported.peak / (1 << 20)},
			{verifyRate(millions), mb / verified.took.Seconds()},
			{verifyPeak(millions), verified.peak / (1 << 20)},
			{deliveryRate(millions), mb / delivered.took.Seconds()},
			{deliveryCPU(millions), delivered.cpu.Seconds() / hundredThousands},
			{deliveryPeak(millions), delivered.peak / (1 << 20)},
		}, nil
	}
}

// work is the resource use of a process.
type work struct {
	took, cpu time.Duration
	peak      float64 // of its resident memory, in bytes
}

// run runs a subcommand whose JSON output must state the given number of messages.
func run(ctx context.Context, r *stack.Recorder, messages int, args ...string) (work, error) {
	bins, err := stack.EnsureBinaries(ctx, stack.BinTextegress)
	if err != nil {
		return work{}, err
	}
	c := exec.CommandContext(ctx, filepath.Join(bins, stack.BinTextegress), args...)
	var out, errOut bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = r.Dir, &out, &errOut
	began := time.Now()
	if err := c.Start(); err != nil {
		return work{}, err
	}
	peak := watchPeak(c.Process.Pid)
	err = c.Wait()
	took := time.Since(began)
	if err != nil {
		return work{}, fmt.Errorf("textegress %s: %w\n%s%s", args[0], err, out.Bytes(),
			errOut.Bytes())
	}
	var answer struct{ Messages int }
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || answer.Messages != messages {
		return work{}, fmt.Errorf("textegress %s: %d messages were recorded, the output is %s",
			args[0], messages, out.Bytes())
	}
	return work{took, c.ProcessState.UserTime() + c.ProcessState.SystemTime(), <-peak}, nil
}

// deliver starts the recorder and waits until it has delivered the session's recording.
func (w *world) deliver(ctx context.Context, r *stack.Recorder, session string,
	messages int,
) (work, error) {
	began := time.Now()
	if err := r.Start(ctx); err != nil {
		return work{}, err
	}
	defer r.Kill() //nolint:errcheck // it has nothing left to do
	ds, err := w.servers.AwaitDelivered(ctx, r, w.project(), session, 1)
	took := time.Since(began)
	if err != nil {
		return work{}, err
	}
	cpu, err := r.CPUTime()
	if err != nil {
		return work{}, err
	}
	_, peak, err := r.RSS()
	if err != nil {
		return work{}, err
	}
	got := ds[0].Manifest().Counts.Messages
	if got != int64(messages) {
		return work{}, fmt.Errorf("%d messages were recorded, %d delivered", messages, got)
	}
	if err := os.RemoveAll(ds[0].Dir); err != nil { // it is large
		return work{}, err
	}
	return work{took, cpu, float64(peak)}, r.Stop(ctx)
}

// watchPeak polls the peak resident memory of a process until it ends, and then sends the last
// value. The kernel keeps the peak, so the interval matters only just before the process ends. (The
// peak that wait4 reports includes this process's memory, from the moment between fork and exec.)
func watchPeak(pid int) <-chan float64 {
	result := make(chan float64, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		most := 0.0
		for {
			v, err := peakOf(pid)
			if err != nil {
				result <- most
				return
			}
			most = max(most, v)
			<-tick.C
		}
	}()
	return result
}

// peakOf reads the peak resident memory of a process since its start, in bytes.
func peakOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), "VmHWM:")
	value, _, unit := strings.Cut(strings.TrimSpace(rest), " kB")
	if !ok || !unit {
		return 0, fmt.Errorf("no VmHWM of process %d: it has ended", pid)
	}
	kb, err := strconv.ParseFloat(value, 64)
	return kb * 1024, err
}
