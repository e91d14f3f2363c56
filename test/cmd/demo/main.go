// Command demo shows the service end to end: the real binary records a class, with messages of
// learners and logs of a learning environment, from real servers, delivers the recording to a real
// S3 server, and verifies it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

func main() {
	dir := flag.String("dir", filepath.Join("build", "demo"),
		"folder for the servers' state, the recorder and the recording")
	length := flag.Duration("class", 20*time.Second, "length of the class")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *length); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, dir string, length time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(ctx, length+4*time.Minute)
	defer cancel()
	dir = filepath.Join(dir, time.Now().Format("20060102-150405"))
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

	say("Starting LiveKit, RabbitMQ, an S3 server and a stand-in for SyncFlow on loopback …")
	servers, err := stack.Start(ctx, stack.Options{
		Dir: filepath.Join(dir, "servers"),
		TLS: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Stop(context.WithoutCancel(ctx))) }()
	project := servers.SyncFlow.Projects[0]

	rec, err := servers.StartRecorder(ctx, filepath.Join(dir, "recorder"))
	if err != nil {
		return err
	}
	defer func() {
		if rec.Running() {
			err = errors.Join(err, rec.Stop(context.WithoutCancel(ctx)))
		}
	}()
	say("textegress is running with %s", filepath.Join(rec.Dir, ".env"))

	session, err := servers.SyncFlow.CreateSession(ctx, project, "class-1", stack.DeviceGroup)
	if err != nil {
		return err
	}
	// Messages sent before the recorder is in the room are not recorded; the manifest states when
	// it joined. Real learners join some seconds after the creation of their session. Those of the
	// demo would join at once, so the demo waits.
	err = rec.Until(ctx, "the recorder is in the room", func(st stack.RecorderStatus) bool {
		return len(st.Recordings) == 1 && st.Recordings[0].Connected
	})
	if err != nil {
		return err
	}
	say("Session %q was announced and is being recorded; six learners and a learning environment "+
		"are writing:", session.Name)
	rep, err := hold(ctx, out, servers, rec, project, session, length)
	if err != nil {
		return fmt.Errorf("class: %w", err)
	}
	ended := time.Now()
	if _, err := servers.SyncFlow.StopSession(ctx, project, session.ID); err != nil {
		return err
	}
	delivered, err := servers.AwaitDelivered(ctx, rec, project, session.ID, 1)
	if err != nil {
		return err
	}
	d := delivered[0]
	say("The class is over. Its recording was delivered and verified %.1f s after its end:\n",
		time.Since(ended).Seconds())
	return show(ctx, out, rec, d, rep)
}

// hold runs the class and shows a progress bar of what the recorder reports to have on disk.
func hold(ctx context.Context, out io.Writer, servers *stack.Stack, rec *stack.Recorder,
	p stack.Project, x stack.Session, length time.Duration,
) (classroom.Report, error) {
	class := servers.Class(p, x)
	class.Learners, class.Late, class.Rejoin, class.ServerMessages = 6, 2, 1, 25
	class.Pause = 150 * time.Millisecond
	// A burst has 3.5 messages on average, with one burst every Pause. Each stay ends with two
	// seconds of Linger.
	class.Messages = max(10, int((length-6*time.Second)/class.Pause*7/2))
	names := []string{"alice", "bob", "chen", "dörte", "emeka", "fatima"}
	class.Identity = func(i int) string { return names[i] }
	class.Contents = []classroom.Content{
		classroom.JSON, classroom.JSON, classroom.Text,
		classroom.Hard,
	}
	total := class.Learners*class.Messages + class.ServerMessages

	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(40), progressbar.OptionShowCount(),
		progressbar.OptionSetDescription("messages recorded"),
		progressbar.OptionSetVisibility(isTerminal(out)))
	done := make(chan struct{})
	var stopped atomic.Bool
	go func() {
		defer close(done)
		_ = stack.Poll(ctx, func() bool {
			if st, err := rec.Status(ctx); err == nil {
				for _, r := range st.Recordings {
					if r.SessionID == x.ID {
						_ = bar.Set(min(int(r.Packets), total))
					}
				}
			}
			return stopped.Load()
		})
	}()
	rep, err := class.Run(ctx)
	stopped.Store(true)
	<-done
	_ = bar.Finish()
	fmt.Fprintln(out)
	return rep, err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// show prints the location of the recording, an extract, and a comparison with what was sent.
func show(ctx context.Context, out io.Writer, rec *stack.Recorder, d stack.Delivered,
	rep classroom.Report,
) error {
	fmt.Fprintf(out, "  bucket   %s\n  on disk  %s\n\n", d.S3URL(), d.Dir)
	for _, o := range d.Manifest().Objects {
		fmt.Fprintf(out, "  %9d  %s\n", o.Size, o.Key)
	}
	fmt.Fprintln(out, "\nThe first lines of the transcript (events.jsonl):")
	sent, found := 0, 0
	got := map[string][]classroom.Received{}
	for m, err := range d.Messages() {
		if err != nil {
			return err
		}
		if m.Kind != textegress.KindData {
			continue
		}
		if found++; found <= 6 {
			who := m.Identity
			if who == "" {
				who = "(server)"
			}
			fmt.Fprintf(out, "  %s  %-9s %-5s %s\n", m.Time.Format("15:04:05.000"), who, m.Topic,
				short(string(m.Payload())))
		}
		got[m.Identity] = append(got[m.Identity], classroom.Received{
			Topic:   m.Topic,
			Payload: m.Payload(), Reliable: m.Reliable == nil || *m.Reliable,
		})
	}
	wrong := 0
	for _, who := range slices.Sorted(maps.Keys(rep.Sent)) {
		sent += len(rep.Sent[who])
		if diff := classroom.Compare(rep.Sent[who], got[who]); !diff.Faithful() {
			wrong++
			fmt.Fprintf(out, "%s: %s\n", who, diff)
		}
	}
	stdout, stderr, code, err := rec.CLI(ctx, "verify", d.S3URL())
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("textegress verify failed with exit code %d:\n%s%s", code, stdout, stderr)
	}
	fmt.Fprintf(out, "\n%d of %d messages recorded, verified\n", found, sent)
	if wrong > 0 || found != sent {
		return errors.New("the recording differs from what was sent")
	}
	return nil
}

func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return '⏎'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return s
}
