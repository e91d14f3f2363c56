package torture

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// recorder is a recorder under test.
type recorder struct {
	*stack.Recorder
	w        *World
	instance string
	data     string // the directory recordings

	mu   sync.Mutex // held during a kill or start
	ours *bool      // whether the harness ends the current run

	ends sync.WaitGroup
}

func (w *World) newRecorder(ctx context.Context, instance string, env []string) (*recorder, error) {
	dir := filepath.Join(w.dir, instance)
	// Each round has a new name, because the queue of an earlier one would hold old announcements.
	instance = filepath.Base(w.dir) + "-" + instance
	env = append([]string{"INSTANCE=" + instance, "RETENTION=0s", "REJOIN_WINDOW=1m"}, env...)
	rec, err := w.harness.Stack.NewRecorderOf(ctx, dir, []stack.Project{w.project}, env...)
	if err != nil {
		return nil, err
	}
	return &recorder{
		Recorder: rec, w: w, instance: instance,
		data: filepath.Join(dir, "textegress-data", "recordings"),
	}, nil
}

// start starts the recorder without waiting for it. If the recorder ends by itself, start reports a
// problem.
func (v *recorder) start() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.Running() {
		return nil
	}
	if err := v.Spawn(); err != nil {
		return err
	}
	ours := new(bool)
	v.ours = ours
	exited := v.Exited()
	v.ends.Go(func() {
		<-exited
		v.mu.Lock()
		defer v.mu.Unlock()
		if !*ours {
			v.w.problem("the recorder ended by itself; the end of its log:\n%s", v.LogTail(3000))
		}
	})
	return nil
}

// kill sends SIGKILL and records the state on disk.
func (v *recorder) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.Running() {
		return
	}
	*v.ours = true
	if err := v.Kill(); err != nil {
		v.w.problem("%v", err)
	}
	v.note()
}

func (v *recorder) note() {
	entries, _ := os.ReadDir(v.data) // none if it was killed before it created the directory
	var states []string
	for _, e := range entries {
		if s := diskState(filepath.Join(v.data, e.Name())); !strings.HasSuffix(s, "removed") ||
			strings.Contains(s, "partly") {
			states = append(states, s)
		}
	}
	v.w.harness.killed(states)
}

// stop stops the recorder with SIGTERM.
func (v *recorder) stop(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	*v.ours = true
	return v.Stop(ctx)
}

// killAt starts a crashWatcher that kills the recorder shortly after it reaches the crash point
// with index from or a later one.
func (v *recorder) killAt(from int, ignore map[string]bool, after time.Duration) (*crashWatcher,
	error,
) {
	return watchCrashPoints(v.data, ignore, from, func() {
		spin(after)
		v.kill()
	})
}

// spin waits for d, even if d is shorter than a timer's resolution.
func spin(d time.Duration) {
	if d > 2*time.Millisecond {
		time.Sleep(d)
		return
	}
	for start := time.Now(); time.Since(start) < d; {
	}
}

// killFor kills the recorder and restarts it after a pause.
func (v *recorder) killFor(ctx context.Context, pause time.Duration) error {
	v.kill()
	if err := backoff.Sleep(ctx, pause); err != nil {
		return err
	}
	return v.start()
}

// freeze stops the process for a while.
func (v *recorder) freeze(ctx context.Context, d time.Duration) error {
	v.w.harness.fault(fmt.Sprintf("recorder stopped for %v (SIGSTOP)", d))
	if err := v.Pause(); err != nil {
		return err
	}
	err := backoff.Sleep(ctx, d)
	if e := v.Resume(); err == nil {
		err = e
	}
	return err
}

// in reports whether the recorder is in the rooms of all these sessions.
func (v *recorder) in(sessions ...*session) func(stack.RecorderStatus) bool {
	return func(st stack.RecorderStatus) bool {
		n := 0
		for _, r := range st.Recordings {
			for _, s := range sessions {
				if r.SessionID == s.ID && r.Connected {
					n++
				}
			}
		}
		return n == len(sessions)
	}
}

// leaks searches the log for forbidden content: secrets, tokens, payloads, identities.
func (v *recorder) leaks() error {
	b, err := os.ReadFile(v.LogPath())
	if err != nil {
		return err
	}
	text := string(b)
	forbidden := []string{
		"eyJ", pupil, "notebook", v.w.harness.Stack.S3.SecretKey,
		v.w.harness.Stack.RabbitMQ.Password,
	}
	for _, p := range v.w.harness.Stack.SyncFlow.Projects {
		forbidden = append(forbidden, p.Secret)
	}
	for _, f := range forbidden {
		if i := strings.Index(text, f); i >= 0 {
			return fmt.Errorf("the log of the recorder contains %q: …%s…", f,
				text[max(0, i-100):min(len(text), i+100)])
		}
	}
	for _, f := range []string{"panic", "DATA RACE", "fatal error"} {
		if i := strings.Index(text, f); i >= 0 {
			return fmt.Errorf("the recorder's log has: …%s…",
				text[max(0, i-100):min(len(text), i+2000)])
		}
	}
	return nil
}
