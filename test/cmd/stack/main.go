// Command stack runs the development servers until it is interrupted:
//
//	stack up [-dir D] [-projects N] [-tls] [-livekit 1.13.5] [-pool 5] [-only livekit]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/syncflow/textegress/test/stack"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || args[0] != "up" {
		return errors.New("usage: stack up [flags], see stack up -h")
	}
	fs := flag.NewFlagSet("stack up", flag.ExitOnError)
	var o stack.Options
	fs.StringVar(&o.Dir, "dir", "", "`folder` that keeps everything; default is a temporary one")
	fs.IntVar(&o.Projects, "projects", 1, "number of SyncFlow projects")
	fs.BoolVar(&o.TLS, "tls", false, "RabbitMQ over TLS")
	fs.StringVar(&o.LiveKit.Version, "livekit", "1.13.5", "LiveKit `version`: 1.13.5 or 1.11.0")
	fs.IntVar(&o.SyncFlow.Connections, "pool", 5,
		"database connections of SyncFlow, one for each running session")
	only := fs.String("only", "", "\"livekit\": only the LiveKit server")
	_ = fs.Parse(args[1:]) // Parse exits on errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *only == "livekit" {
		l, err := stack.StartLiveKit(ctx, o.LiveKit)
		if err != nil {
			return err
		}
		printLiveKit(l)
		<-ctx.Done()
		return l.Close()
	}
	s, err := stack.Start(ctx, o)
	if err != nil {
		return err
	}
	env, err := s.DotEnv(s.Dir, "DATA_DIR="+filepath.Join(s.Dir, "textegress-data"))
	if err == nil {
		print(s, env)
		<-ctx.Done()
	}
	end, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, s.Stop(end))
}

func printLiveKit(l *stack.LiveKit) {
	fmt.Printf("LiveKit %s  %s  key %s  secret %s\n", l.Version, l.URL, l.APIKey, l.APISecret)
}

func print(s *stack.Stack, env string) {
	printLiveKit(s.LiveKit)
	fmt.Printf("RabbitMQ       %s:%d (TLS port %d)  vhost %s  user %s  password %s\n",
		s.RabbitMQ.Host, s.RabbitMQ.Port, s.RabbitMQ.TLSPort,
		s.RabbitMQ.VHost, s.RabbitMQ.User, s.RabbitMQ.Password)
	fmt.Printf("S3             %s  key %s  secret %s  files in %s\n", s.S3.Endpoint, s.S3.AccessKey,
		s.S3.SecretKey, s.S3.DataDir)
	fmt.Printf("SyncFlow       %s  (faults and counters: %s/_control)\n", s.SyncFlow.URL,
		s.SyncFlow.URL)
	for _, p := range s.SyncFlow.Projects {
		fmt.Printf("  project %q  %s  key %s  bucket %s\n", p.Name, p.ID, p.Key, p.Bucket)
	}
	fmt.Printf(".env           %s\nlogs           %s\nCtrl-C ends it.\n", env, s.Dir)
}
