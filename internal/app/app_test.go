package app_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStartRecordDeliverStopRestart(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	out := filepath.Join(w.dir, "out")
	w.class(projectA, 1)
	if got := w.delivered(1, out); got != "said in 1" {
		t.Errorf("delivered %q", got)
	}
	resp, err := http.Get("http://" + w.app.Addr() + "/readyz")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("/readyz: %v, %v", resp, err)
	}
	resp.Body.Close()

	// A stop in the middle of a session seals and delivers what there is, before Run returns.
	c := w.record(projectA, 2)
	w.send(c, "before the stop")
	first := w.recording(2).EgressID
	if err := w.stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	if got := w.said(first, out); got != "before the stop" {
		t.Errorf("delivered at the stop: %q", got)
	}

	// The next start continues it as the second part, when the session is found to run.
	w.start()
	w.eventually("the project runs", func() bool { return w.project(projectA).State == "running" })
	w.record(projectA, 2)
	w.eventually("the recorder is in the room again", func() bool {
		r := w.recording(2)
		c = w.room.conn(sessionID(2))
		return r.Part == 2 && r.Connected
	})
	w.send(c, "after the restart")
	w.end(c, 2)
	if got := w.delivered(2, out); got != "after the restart" {
		t.Errorf("part 2: %q", got)
	}
	if got := w.said(first, out); got != "before the stop" {
		t.Errorf("part 1 afterwards: %q", got)
	}
	if err := w.stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
}

func TestABrokenProjectBesideAGoodOne(t *testing.T) {
	w := newWorld(t)
	w.s3.hang = make(chan struct{})
	defer close(w.s3.hang)
	w.env("PROJECTS__0__KEY=only-a-key", w.bucket(1, projectA, "AKGOOD"),
		w.directory(2, projectB, "out"), "SHUTDOWN_TIMEOUT=1s")
	w.start()
	w.class(projectA, 1) // its upload never ends
	w.class(projectB, 2)
	if got := w.delivered(2, filepath.Join(w.dir, "out")); got != "said in 2" {
		t.Errorf("delivered %q", got)
	}
	s := w.app.Status()
	if len(s.Projects) != 3 || s.Projects[0].State != "broken" ||
		!strings.Contains(s.Projects[0].Error, "PROJECTS__0__SECRET") || s.Ready {
		t.Errorf("status %+v", s.Projects)
	}
	if p := w.project(projectA); p.State != "running" || p.PendingUploads != 1 {
		t.Errorf("project with the broken bucket: %+v", p)
	}
}

// TestShutdownTimeoutInTheMiddleOfAnUpload stops the service while a store takes the body and does
// not answer.
func TestShutdownTimeoutInTheMiddleOfAnUpload(t *testing.T) {
	w := newWorld(t)
	hang := make(chan struct{})
	w.s3.hang = hang
	w.env(w.bucket(0, projectA, "AKGOOD"), "SHUTDOWN_TIMEOUT=1s")
	w.start()
	w.class(projectA, 1)
	w.eventually("it is frozen for delivery",
		func() bool { return w.recording(1).State == "exported" })
	if err := w.stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	if !strings.Contains(w.logged(), "the next start continues with it") {
		t.Errorf("the log does not say what is left:\n%s", w.logged())
	}
	w.s3.mu.Lock()
	w.s3.hang = nil
	w.s3.mu.Unlock()
	close(hang)
	w.start()
	w.eventually("session 1 is delivered",
		func() bool { return w.recording(1).State == "uploaded" })
	if got := w.delivered(1, filepath.Join(w.s3.dump(t), "bucket")); got != "said in 1" {
		t.Errorf("delivered %q", got)
	}
}

func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.env(w.directory(0, projectA, "out"), "HTTP_ADDR="+l.Addr().String())
	a, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "HTTP_ADDR") {
		t.Fatalf("Run with a port that is taken = %v", err)
	}
	l.Close()
	w.env(w.directory(0, projectA, "out"))
	w.start() // the lock on the data directory was released
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}

// TestReloadCorrectsCredentials: a wrong key delays deliveries, disturbs no recording, and is
// corrected without a restart.
func TestReloadCorrectsCredentials(t *testing.T) {
	w := newWorld(t)
	w.env(w.bucket(0, projectA, "AKWRONG"))
	w.start()
	w.class(projectA, 1)
	running := w.record(projectA, 2)
	w.send(running, "before")
	w.eventually("the status says what is wrong",
		func() bool { return strings.Contains(w.project(projectA).UploadError, "ACCESS_KEY") })
	notReady := strings.Join(w.app.NotReady(), "\n")
	for _, part := range []string{"project 0", w.recording(1).EgressID, "ACCESS_KEY"} {
		if !strings.Contains(notReady, part) {
			t.Errorf("/readyz does not say %q:\n%s", part, notReady)
		}
	}

	w.env(w.bucket(0, projectA, "AKGOOD"), "LOG_LEVEL=debug", "RETENTION=1h",
		"SHUTDOWN_TIMEOUT=30s", "RABBITMQ_HOST=localhost", "REJOIN_WINDOW=5m",
		"PROJECTS__0__TOPICS_DENY=private")
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	w.eventually("session 1 is delivered",
		func() bool { return w.recording(1).State == "uploaded" })
	if got := w.delivered(1, filepath.Join(w.s3.dump(t), "bucket")); got != "said in 1" {
		t.Errorf("delivered %q", got)
	}
	if c := w.room.conn(sessionID(2)); c != running {
		t.Error("the reload disturbed a recording")
	}
	w.send(running, "after")
	w.end(running, 2)
	w.eventually("session 2 is delivered",
		func() bool { return w.recording(2).State == "uploaded" })
	if got := w.delivered(2, filepath.Join(w.s3.dump(t), "bucket")); got != "before, after" {
		t.Errorf("delivered %q", got)
	}
	if notReady := w.app.NotReady(); len(notReady) != 0 {
		t.Errorf("not ready though everything is delivered: %q", notReady)
	}
	r := w.app.Status().LastReload
	if r == nil || r.Error != "" {
		t.Fatalf("last reload %+v", r)
	}
	if diff := cmp.Diff([]string{
		"LOG_LEVEL", "RETENTION", "SHUTDOWN_TIMEOUT",
		"PROJECTS__0__S3_CONFIG__ACCESS_KEY", "PROJECTS__0__TOPICS_DENY",
	}, r.Applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"RABBITMQ_HOST", "REJOIN_WINDOW"}, r.NeedsRestart); diff != "" {
		t.Errorf("needs a restart (-want +got):\n%s", diff)
	}
	if w.level.Level() != slog.LevelDebug {
		t.Errorf("log level %v", w.level.Level())
	}
	// What needs a restart is still said by the next reload.
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	if r := w.app.Status().LastReload; len(r.Applied) != 0 || len(r.NeedsRestart) != 2 ||
		!strings.Contains(w.logged(), "nothing that takes effect now has changed") {
		t.Errorf("a second reload: %+v\n%s", r, w.logged())
	}
	if log := w.logged(); strings.Contains(log, "AKGOOD") || strings.Contains(log, "s3-secret") ||
		strings.Contains(log, "alice") {
		t.Errorf("the log says too much:\n%s", log)
	}
}

// TestAWrongReloadChangesNothing: all of the new settings, or none.
func TestAWrongReloadChangesNothing(t *testing.T) {
	w := newWorld(t)
	good := w.directory(0, projectA, "out")
	w.env(good, w.directory(1, projectB, "out"))
	w.start()
	if err := os.WriteFile(filepath.Join(w.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ lines, want string }{
		"a setting of the service":      {"LOG_LEVEL=loud\n" + good, "LOG_LEVEL"},
		"a setting that does not exist": {"TEXTEGRESS_X=1\n" + good, "TEXTEGRESS_X"},
		"a running project": {good + "\nLOG_LEVEL=debug\nPROJECTS__1__PROJECT_ID=" +
			projectB, "PROJECTS__1__SECRET"},
		"a running project, its id": {good +
			"\nLOG_LEVEL=debug\nPROJECTS__1__PROJECT_ID=nonsense", "PROJECTS__1__PROJECT_ID"},
		"a bucket that cannot be": {w.directory(0, projectA, "file") + "\nLOG_LEVEL=debug\n" +
			w.directory(1, projectB, "out"), "PROJECTS__0__DIRECTORY"},
	} {
		w.env(tc.lines)
		err := w.app.Reload()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Reload = %v, want an error that names %s", name, err, tc.want)
			continue
		}
		if s := w.app.Status(); s.LastReload.Error != err.Error() ||
			len(s.LastReload.Applied) != 0 || len(s.Projects) != 2 {
			t.Errorf("%s: status %+v, %+v", name, s.LastReload, s.Projects)
		}
		if w.level.Level() != slog.LevelInfo {
			t.Errorf("%s: the log level was changed", name)
		}
	}
	w.class(projectA, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "said in 1" {
		t.Errorf("delivered %q", got)
	}
	// Settings that are right again are taken.
	w.env(good, w.directory(1, projectB, "out"), "LOG_LEVEL=warn")
	if err := w.app.Reload(); err != nil || w.app.Status().LastReload.Error != "" ||
		w.level.Level() != slog.LevelWarn {
		t.Errorf("Reload of good settings = %v, %+v", err, w.app.Status().LastReload)
	}
}

func TestReloadAddsAndRemovesProjects(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "PROJECTS__1__PROJECT_ID="+projectB)
	w.start()
	running := w.record(projectA, 1)
	// Project 1 is mended, project 0 is gone.
	w.env(w.directory(1, projectB, "out"))
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	r := w.app.Status().LastReload
	if !slices.Contains(r.Applied, "project "+projectB+" was added") ||
		!slices.Contains(r.NeedsRestart, "project "+projectA+" was removed") {
		t.Errorf("last reload %+v", r)
	}
	w.eventually("the mended project runs",
		func() bool { return w.project(projectB).State == "running" })
	w.class(projectB, 2)
	if got := w.delivered(2, filepath.Join(w.dir, "out")); got != "said in 2" {
		t.Errorf("delivered %q", got)
	}
	// What ran in the removed one goes on and is delivered.
	w.send(running, "still here")
	w.end(running, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "still here" {
		t.Errorf("delivered %q", got)
	}
	if n := len(w.app.Status().Projects); n != 2 {
		t.Errorf("%d projects", n)
	}
}

// TestReloadsDuringDeliveries swaps the bucket again and again while recordings are delivered and
// the status is asked: each recording must be whole in one of the buckets.
func TestReloadsDuringDeliveries(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out0"))
	w.start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			w.env(w.directory(0, projectA, fmt.Sprintf("out%d", i%3)))
			if err := w.app.Reload(); err != nil {
				t.Errorf("Reload: %v", err)
			}
			w.app.Status()
		}
	})
	for n := range 10 {
		w.class(projectA, n)
	}
	for n := range 10 {
		w.eventually("it is delivered", func() bool { return w.recording(n).State == "uploaded" })
	}
	close(stop)
	wg.Wait()
	for n := range 10 {
		id, whole := w.recording(n).EgressID, 0
		for i := range 3 {
			manifests, _ := filepath.Glob(filepath.Join(w.dir, fmt.Sprintf("out%d", i), "*", "*",
				"text-egress", "*", id, "manifest.json"))
			if len(manifests) == 0 {
				continue
			}
			whole++
			if got := w.said(id, filepath.Join(w.dir, fmt.Sprintf("out%d", i))); got != fmt.Sprintf(
				"said in %d", n) {
				t.Errorf("session %d: %q", n, got)
			}
		}
		if whole == 0 {
			t.Errorf("session %d is whole nowhere", n)
		}
	}
}

func TestReloadWhileStopping(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	w.env(w.directory(0, projectA, "out"), w.directory(1, projectB, "out"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.app.Reload(); err != nil {
			t.Errorf("Reload: %v", err)
		}
	})
	if err := w.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	wg.Wait()
}

// An App that never runs listens nowhere, and gives the data directory back.
func TestCloseWithoutRun(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.env(w.directory(0, projectA, "out"), "HTTP_ADDR="+l.Addr().String()) // a port that is taken
	a, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	w.env(w.directory(0, projectA, "out"))
	w.start()
}
