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

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// Peers are alternative recorders, each written as a user of the SDK would write it. They join with
// given tokens, write only text files, and never fsync, so they do less work than a recorder must.
const (
	peerGoSDK   = "Go SDK peer"   // peers/gosdk
	peerRTCNode = "rtc-node peer" // peers/rtc-node.mjs; the engine of the predecessor
)

// peer is a running peer.
type peer struct {
	*stack.Process
	out string // directory of its text files
}

// startPeer starts a peer and returns when it has joined the rooms.
func (w *world) startPeer(ctx context.Context, kind string, rooms []string) (*peer, error) {
	dir := filepath.Join(w.o.Dir, w.name("peer"))
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(in("out"), 0o755); err != nil {
		return nil, err
	}
	list := []map[string]string{}
	for i, room := range rooms {
		token, err := w.servers.LiveKit.Token(fmt.Sprintf("peer-%d", i),
			stack.RecorderGrants(room))
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
	args = append(args, "--url", w.servers.LiveKit.URL, "--rooms", in("rooms.json"), "--out",
		in("out"), "--joined", in("joined"))
	p, err := stack.StartProcess(ctx, stack.ProcessSpec{
		Name: kind, Path: path, Args: args, Dir: dir, Log: in("log"), StartTimeout: 3 * time.Minute,
		Ready: func(context.Context) error { _, err := os.Stat(in("joined")); return err },
	})
	if err != nil {
		return nil, err
	}
	return &peer{p, in("out")}, nil
}

func (w *world) peerCommand(ctx context.Context, kind string) (path string, args []string,
	err error,
) {
	if kind == peerGoSDK {
		bins, err := stack.EnsureBinaries(ctx, stack.BinPeerGoSDK)
		return filepath.Join(bins, stack.BinPeerGoSDK), nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return "", nil, errors.New("node is not on the PATH (Debian: apt-get install nodejs npm; " +
			"scripts/setup.sh bench does it)")
	}
	// The peer uses the packages of the client tests, which Node finds in a module's own directory.
	root, err := stack.Root()
	if err != nil {
		return "", nil, err
	}
	home := filepath.Join(root, "build", "npm", "node")
	if _, err := os.Stat(filepath.Join(home, "node_modules", "@livekit", "rtc-node")); err != nil {
		return "", nil, errors.New("@livekit/rtc-node is not installed (scripts/npm.sh node " +
			"installs it)")
	}
	script := filepath.Join(home, "peer.mjs")
	return node, []string{script}, os.WriteFile(script, rtcNode, 0o644)
}

// lines counts the lines that the peer has written.
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

// peerIdle is idle for a peer. The memory without rooms is that of a peer started without rooms.
func peerIdle(kind string, n int) runFunc {
	return func(ctx context.Context, w *world) ([]measured, error) {
		none, err := w.startPeer(ctx, kind, nil)
		if err != nil {
			return nil, err
		}
		defer none.Kill() //nolint:errcheck // an error has no meaning here
		if err := backoff.Sleep(ctx, 2*time.Second); err != nil {
			return nil, err
		}
		empty, err := readProcess(none.Process)
		if err != nil {
			return nil, err
		}
		if err := none.Stop(ctx); err != nil {
			return nil, err
		}
		rooms, remove := w.peerRooms(ctx, n)
		defer remove()
		p, err := w.startPeer(ctx, kind, rooms)
		if err != nil {
			return nil, err
		}
		defer p.Kill() //nolint:errcheck // an error has no meaning here
		if err := backoff.Sleep(ctx, settle); err != nil {
			return nil, err
		}
		full, err := readProcess(p.Process)
		if err != nil {
			return nil, err
		}
		if err := backoff.Sleep(ctx, w.quiet()); err != nil {
			return nil, err
		}
		later, err := readProcess(p.Process)
		if err != nil {
			return nil, err
		}
		return []measured{
			{ofPeer(idleMemory(n), kind), (full.rss - empty.rss) / float64(n) / 1024},
			{ofPeer(idleCPU(n), kind), msPerSecond(full, later) / float64(n)},
		}, nil
	}
}

// peer is load for a peer. It also counts the messages that the peer has written.
func (t traffic) peer(kind string) runFunc {
	return func(ctx context.Context, w *world) ([]measured, error) {
		rooms, remove := w.peerRooms(ctx, t.rooms)
		defer remove()
		plan := t.plan(w, rooms)
		p, err := w.startPeer(ctx, kind, plan.Rooms)
		if err != nil {
			return nil, err
		}
		defer p.Kill() //nolint:errcheck // an error has no meaning here
		var before reading
		res, _, err := w.send(ctx, plan,
			func() (err error) { before, err = readProcess(p.Process); return err })
		if err != nil {
			return nil, err
		}
		sent, err := allSent(res)
		if err != nil {
			return nil, err
		}
		// A peer slower than the senders gets time to catch up. The limit is for one that loses
		// messages and would never finish.
		within, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		n := 0
		err = stack.Poll(within, func() bool {
			n, err = p.lines()
			return err == nil &&
				n >= sent
		})
		if err != nil {
			return nil, fmt.Errorf("it wrote %d of %d messages: %w", n, sent, err)
		}
		if n != sent {
			return nil, fmt.Errorf("it wrote %d messages, %d were sent", n, sent)
		}
		after, err := readProcess(p.Process)
		if err != nil {
			return nil, err
		}
		return []measured{{
			ofPeer(loadCPU(t.name), kind),
			(after.cpu - before.cpu).Seconds() / (float64(sent) / 100_000),
		}}, nil
	}
}

// peerRooms returns names of unused rooms, which start when the first participant joins, and a
// function that ends them.
func (w *world) peerRooms(ctx context.Context, n int) (names []string, remove func()) {
	for range n {
		names = append(names, w.name("peer-room"))
	}
	return names, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		// a room that was never opened is not an error
		_ = each(n, func(i int) error { return w.servers.LiveKit.DeleteRoom(ctx, names[i]) })
	}
}
