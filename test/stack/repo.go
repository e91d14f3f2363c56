package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const rootModule = "github.com/syncflow/textegress"

// Root returns the directory of the repository: the nearest one, from the working directory
// upwards, whose go.mod declares the root module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if m, err := moduleOf(filepath.Join(dir, "go.mod")); err == nil && m == rootModule {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("stack: the working directory is not inside a checkout of %s",
				rootModule)
		}
		dir = parent
	}
}

func moduleOf(gomod string) (string, error) {
	f, err := os.Open(gomod)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if m, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "module "); ok {
			return strings.TrimSpace(m), nil
		}
	}
	return "", errors.New("no module line")
}

// Names of the programs that EnsureBinaries builds in <repository>/build/bin.
const (
	BinLiveKit    = "livekit-server"
	BinLiveKit111 = "livekit-server-1.11.0"
	BinS3         = "versitygw"
	BinSyncFlow   = "syncflow-standin"
	BinLoadgen    = "loadgen"
	BinTextegress = "textegress"
	BinPeerGoSDK  = "peer-gosdk"
)

type program struct {
	module string // directory of the Go module below the repository
	pkg    string
	ours   bool // rebuilt every time: the Go tool does nothing if it is up to date
}

var programs = map[string]program{
	BinLiveKit:    {"test", "github.com/livekit/livekit-server/cmd/server", false},
	BinLiveKit111: {"test/livekit111", "github.com/livekit/livekit-server/cmd/server", false},
	BinS3:         {"test", "github.com/versity/versitygw/cmd/versitygw", false},
	BinSyncFlow:   {"test", rootModule + "/test/cmd/syncflow", true},
	BinLoadgen:    {"test", rootModule + "/test/cmd/loadgen", true},
	BinPeerGoSDK:  {"test", rootModule + "/test/bench/peers/gosdk", true},
	BinTextegress: {".", rootModule + "/cmd/textegress", true},
}

// built holds the repository's own programs that this process has already built.
var built sync.Map

// EnsureBinaries builds the missing ones of the named programs in <repository>/build/bin and
// returns that directory. Without names, it builds all programs that a default stack needs. The
// first build of the LiveKit server takes minutes. Concurrent calls, including those of other
// processes, wait for each other.
func EnsureBinaries(ctx context.Context, names ...string) (string, error) {
	if len(names) == 0 {
		names = []string{BinLiveKit, BinS3, BinSyncFlow, BinLoadgen}
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "build", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, "build", ".bin.lock"), os.O_CREATE|os.O_RDONLY,
		0o666)
	if err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("stack: waiting for another build: %w", err)
	}
	for _, n := range names {
		p, ok := programs[n]
		if !ok {
			return "", fmt.Errorf("stack: unknown program %q", n)
		}
		out := filepath.Join(bin, n)
		_, done := built.Load(n)
		if _, err := os.Stat(out); err == nil && (done || !p.ours) {
			continue
		}
		c := exec.CommandContext(ctx, "go", "build", "-o", out, p.pkg)
		c.Dir = filepath.Join(root, p.module)
		// as in scripts/env.sh: other flags would recompile everything
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("stack: building %s: %w\n%s", n, err, b)
		}
		built.Store(n, true)
	}
	return bin, nil
}
