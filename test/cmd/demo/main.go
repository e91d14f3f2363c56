// Command demo shows the service end to end: the real binary records a class, with messages of
// learners and logs of a learning environment, from real servers, delivers the recording, and
// verifies it. With -platform syncflow the servers are those of a SyncFlow deployment, and the
// recording goes to a real S3 server. With -platform livekit there is a LiveKit server only, and
// the recording goes to a directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

func main() {
	dir := flag.String("dir", filepath.Join("build", "demo"),
		"folder for the servers' state, the recorder and the recording")
	length := flag.Duration("class", 20*time.Second, "length of the class")
	platform := flag.String("platform", "syncflow", "\"syncflow\" or \"livekit\"")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *platform, *dir, *length); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// lesson is a session that is about to be held.
type lesson struct {
	class     classroom.Class
	sessionID string
	begun     string // one sentence: what began
	// end ends the session.
	end func(context.Context) error
	// delivered waits for the recording.
	delivered func(context.Context) ([]stack.Delivered, error)
}

// scene is a platform to show.
type scene struct {
	servers string // that are started, in words
	options stack.Options
	// begin starts a session; the recorder is running.
	begin func(context.Context, *stack.Stack, *stack.Recorder) (lesson, error)
}

var scenes = map[string]scene{
	"syncflow": {
		servers: "LiveKit, RabbitMQ, an S3 server and a stand-in for SyncFlow",
		options: stack.Options{TLS: true},
		begin:   beginSyncFlow,
	},
	"livekit": {
		servers: "LiveKit",
		options: stack.Options{NoSyncFlow: true, NoS3: true},
		begin:   beginLiveKit,
	},
}

func run(ctx context.Context, out io.Writer, platform, dir string,
	length time.Duration,
) (err error) {
	sc, ok := scenes[platform]
	if !ok {
		return fmt.Errorf("no platform %q: use syncflow or livekit", platform)
	}
	ctx, cancel := context.WithTimeout(ctx, length+4*time.Minute)
	defer cancel()
	dir = filepath.Join(dir, time.Now().Format("20060102-150405"))
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

	say("Starting %s on loopback …", sc.servers)
	sc.options.Dir = filepath.Join(dir, "servers")
	servers, err := stack.Start(ctx, sc.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Stop(context.WithoutCancel(ctx))) }()
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

	l, err := sc.begin(ctx, servers, rec)
	if err != nil {
		return err
	}
	// Messages sent before the recorder is in the room are not recorded; the manifest states when
	// it joined. Real learners join some seconds after the start of their session. Those of the
	// demo would join at once, so the demo waits.
	err = rec.Until(ctx, "the recorder is in the room", func(st stack.RecorderStatus) bool {
		return len(st.Recordings) == 1 && st.Recordings[0].Connected
	})
	if err != nil {
		return err
	}
	say("%s and is being recorded; six learners and a learning environment are writing:", l.begun)
	rep, err := hold(ctx, out, rec, l, length)
	if err != nil {
		return fmt.Errorf("class: %w", err)
	}
	ended := time.Now()
	if err := l.end(ctx); err != nil {
		return err
	}
	delivered, err := l.delivered(ctx)
	if err != nil {
		return err
	}
	say("The class is over. Its recording was delivered and verified %.1f s after its end:\n",
		time.Since(ended).Seconds())
	return show(ctx, out, rec, delivered[0], rep)
}

func beginSyncFlow(ctx context.Context, s *stack.Stack, rec *stack.Recorder) (lesson, error) {
	p := s.SyncFlow.Projects[0]
	x, err := s.SyncFlow.CreateSession(ctx, p, "class-1", stack.DeviceGroup)
	if err != nil {
		return lesson{}, err
	}
	return lesson{
		class: s.Class(p, x), sessionID: x.ID,
		begun: fmt.Sprintf("Session %q was announced", x.Name),
		end: func(ctx context.Context) error {
			_, err := s.SyncFlow.StopSession(ctx, p, x.ID)
			return err
		},
		delivered: func(ctx context.Context) ([]stack.Delivered, error) {
			return s.AwaitDelivered(ctx, rec, p, x.ID, 1)
		},
	}, nil
}

func beginLiveKit(ctx context.Context, s *stack.Stack, rec *stack.Recorder) (lesson, error) {
	room, err := s.LiveKit.CreateRoom(ctx, "class-1")
	if err != nil {
		return lesson{}, err
	}
	return lesson{
		class: s.LiveKit.Class(room.Name), sessionID: room.Sid,
		begun: fmt.Sprintf("Room %q was opened", room.Name),
		end:   func(ctx context.Context) error { return s.LiveKit.DeleteRoom(ctx, room.Name) },
		delivered: func(ctx context.Context) ([]stack.Delivered, error) {
			return rec.AwaitDeliveredLocally(ctx, room.Sid, 1)
		},
	}, nil
}
