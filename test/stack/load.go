package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/syncflow/textegress/test/classroom"
)

// LoadProcess is a load generator in its own process, with all senders joined.
type LoadProcess struct {
	*Process
	dir string
}

// StartLoad starts a load generator on this stack's LiveKit server and returns when all its senders
// have joined. It fills in the plan's URL and keys if they are empty. Nothing is sent before Go.
func (l *LiveKit) StartLoad(ctx context.Context, plan classroom.Load) (*LoadProcess, error) {
	bin, err := EnsureBinaries(ctx, BinLoadgen)
	if err != nil {
		return nil, err
	}
	plan.URL, plan.APIKey, plan.APISecret = orDefault(plan.URL, l.URL),
		orDefault(plan.APIKey, l.APIKey), orDefault(plan.APISecret, l.APISecret)
	b, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "textegress-load-")
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("plan.json"), b, 0o600); err != nil {
		return nil, err
	}
	p, err := StartProcess(ctx, ProcessSpec{
		Name: "loadgen", Path: filepath.Join(bin, BinLoadgen), Dir: dir, Log: in("loadgen.log"),
		StartTimeout: 2 * time.Minute,
		Args: []string{
			"-plan", in("plan.json"), "-joined", in("joined"), "-go", in("go"), "-out",
			in("result.json"),
		},
		Ready: func(context.Context) error { _, err := os.Stat(in("joined")); return err },
	})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &LoadProcess{p, dir}, nil
}

// Go starts the senders.
func (p *LoadProcess) Go() error { return os.WriteFile(filepath.Join(p.dir, "go"), nil, 0o644) }

// Wait waits until everything is sent and the senders have left, and returns what was sent.
func (p *LoadProcess) Wait(ctx context.Context) (classroom.LoadResult, error) {
	var res classroom.LoadResult
	select {
	case <-p.Exited():
	case <-ctx.Done():
		return res, ctx.Err()
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "result.json"))
	if err != nil {
		return res, fmt.Errorf("loadgen left no result: %s", p.LogTail(2000))
	}
	if err := json.Unmarshal(b, &res); err != nil {
		return res, fmt.Errorf("result of loadgen: %w", err)
	}
	return res, nil
}

// Close kills the load generator if it still runs and removes its files.
func (p *LoadProcess) Close() error {
	if err := p.Kill(); err != nil {
		return err
	}
	return os.RemoveAll(p.dir)
}

// Class returns the plan of a class whose learners join a session through the SyncFlow API, as
// those of a learning environment do.
func (s *Stack) Class(p Project, x Session) classroom.Class {
	return classroom.Class{
		Tokens: func(ctx context.Context, identity string) (string, string, error) {
			token, url, err := s.SyncFlow.JoinToken(ctx, p, x, identity)
			return url, token, err
		},
		SendData: func(ctx context.Context, topic string, reliable bool, payload []byte) error {
			return s.LiveKit.SendData(ctx, x.LivekitRoomName, topic, reliable, payload)
		},
	}
}

// Class returns the plan of a class whose learners join a room of the LiveKit server.
func (l *LiveKit) Class(room string) classroom.Class {
	return classroom.Class{
		Tokens: func(_ context.Context, identity string) (string, string, error) {
			token, err := l.Token(identity, Grants(room))
			return l.URL, token, err
		},
		SendData: func(ctx context.Context, topic string, reliable bool, payload []byte) error {
			return l.SendData(ctx, room, topic, reliable, payload)
		},
	}
}
