package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// hold runs the class and shows a progress bar of what the recorder reports to have on disk.
func hold(ctx context.Context, out io.Writer, rec *stack.Recorder, l lesson, length time.Duration,
) (classroom.Report, error) {
	class := l.class
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
					if r.SessionID == l.sessionID {
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
	if d.Bucket != "" {
		fmt.Fprintf(out, "  bucket   %s\n", d.S3URL())
	}
	fmt.Fprintf(out, "  on disk  %s\n\n", d.Dir)
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
	stdout, stderr, code, err := rec.CLI(ctx, "verify", d.Where())
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
