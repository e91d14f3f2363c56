package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/syncflow/textegress/devstack"
	"github.com/syncflow/textegress/devstack/classroom"
)

// Peers are what people would use instead, each written as a user of the SDK would write it. They join with tokens that they are
// given, keep nothing but text files, and never fsync: what they cost is less than what a recorder has to do.
const (
	peerGoSDK   = "Go SDK peer"   // devstack/cmd/peer-gosdk
	peerRTCNode = "rtc-node peer" // peers/rtc-node.mjs; the engine of the predecessor
)

var errNoPeer = errors.New("not here")

// peer is a running peer.
type peer struct {
	*devstack.Process
	out string // folder of its text files
}

// startPeer starts a peer and returns when it has joined the rooms. errNoPeer: it cannot run on this machine.
func (w *world) startPeer(ctx context.Context, kind string, rooms []string) (*peer, error) {
	w.n++
	dir := filepath.Join(w.o.Dir, fmt.Sprintf("peer-%d", w.n))
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(in("out"), 0o755); err != nil {
		return nil, err
	}
	list := []map[string]string{}
	for i, room := range rooms {
		token, err := w.stack.LiveKit.Token(fmt.Sprintf("peer-%d", i), devstack.RecorderGrants(room))
		if err != nil {
			return nil, err
		}
		list = append(list, map[string]string{"name": room, "token": token})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(in("rooms.json"), b, 0o600); err != nil {
		return nil, err
	}
	path, args, err := w.peerCommand(ctx, kind)
	if err != nil {
		return nil, err
	}
	args = append(args, "--url", w.stack.LiveKit.URL, "--rooms", in("rooms.json"), "--out", in("out"), "--joined", in("joined"))
	p, err := devstack.StartProcess(ctx, devstack.ProcessSpec{
		Name: kind, Path: path, Args: args, Dir: dir, Log: in("log"), StartTimeout: 3 * time.Minute,
		Ready: func(context.Context) error { _, err := os.Stat(in("joined")); return err },
	})
	if err != nil {
		return nil, err
	}
	return &peer{p, in("out")}, nil
}

func (w *world) peerCommand(ctx context.Context, kind string) (path string, args []string, err error) {
	if kind == peerGoSDK {
		bins, err := devstack.EnsureBinaries(ctx, devstack.BinPeerGoSDK)
		return filepath.Join(bins, devstack.BinPeerGoSDK), nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return "", nil, fmt.Errorf("%w: no node on the PATH", errNoPeer)
	}
	// Its packages are those of the client tests; a module finds them beside itself.
	home, err := filepath.Abs(filepath.Join("build", "npm", "node"))
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(filepath.Join(home, "node_modules", "@livekit", "rtc-node")); err != nil {
		return "", nil, fmt.Errorf("%w: @livekit/rtc-node is not installed (scripts/npm.sh)", errNoPeer)
	}
	script := filepath.Join(home, "peer.mjs")
	return node, []string{script}, os.WriteFile(script, rtcNode, 0o644)
}

// lines counts what the peer has written.
func (p *peer) lines() (int, error) {
	n := 0
	err := filepath.WalkDir(p.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		n += bytes.Count(b, []byte("\n"))
		return err
	})
	return n, err
}

func (p *peer) look() (reading, error) {
	cpu, err := p.CPUTime()
	if err != nil {
		return reading{}, err
	}
	rss, err := rssOf(p.PID())
	return reading{at: time.Now(), cpu: cpu, rss: rss}, err
}

// peerIdle is idle for a peer. Its memory without rooms is that of one that was given none.
func peerIdle(kind string, n int) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		none, err := w.startPeer(ctx, kind, nil)
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return nil, err
		}
		empty, err := none.look()
		if err != nil {
			return nil, err
		}
		if err := none.Stop(ctx); err != nil {
			return nil, err
		}
		p, err := w.startPeer(ctx, kind, w.rooms(n))
		if err != nil {
			return nil, err
		}
		defer p.Kill() //nolint:errcheck // the next case starts another
		if err := pause(ctx, 30*time.Second); err != nil {
			return nil, err
		}
		full, err := p.look()
		if err != nil {
			return nil, err
		}
		return []measured{{fmt.Sprintf("memory per idle room of %d, %s, RSS (KB)", n, kind), (full.rss - empty.rss) / float64(n) / 1024}}, nil
	}
}

// peerLoad is load for a peer.
func peerLoad(kind, what string, rooms, senders int, rate, seconds float64) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		plan := classroom.Load{Rooms: w.rooms(rooms), Senders: senders, Rate: rate, Seconds: seconds, Size: 200, Topic: "log"}
		p, err := w.startPeer(ctx, kind, plan.Rooms)
		if err != nil {
			return nil, err
		}
		defer p.Kill() //nolint:errcheck // the next case starts another
		var before reading
		sent, err := w.send(ctx, plan, func() error { before, err = p.look(); return err })
		if err != nil {
			return nil, err
		}
		err = devstack.Poll(ctx, func() bool { n, err := p.lines(); return err == nil && n >= sent })
		if err != nil {
			n, _ := p.lines()
			return nil, fmt.Errorf("%s wrote %d of %d messages: %w", kind, n, sent, err)
		}
		after, err := p.look()
		if err != nil {
			return nil, err
		}
		return []measured{{
			fmt.Sprintf("CPU for 100,000 messages, %s, %s (s)", what, kind), (after.cpu - before.cpu).Seconds() / (float64(sent) / 100_000),
		}}, nil
	}
}

// rooms returns names of rooms that nobody has used.
func (w *world) rooms(n int) []string {
	var out []string
	for range n {
		w.n++
		out = append(out, fmt.Sprintf("peer-room-%d", w.n))
	}
	return out
}
