package diskguard

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/syncflow/textegress/internal/durable"
)

// Names in the directory; docs/FORMAT.md lists them.
const (
	ballastName    = "ballast"
	oldBallastName = "reserve" // of earlier versions
)

// opBallast is the label of the file system calls and of the operation in the metric.
const opBallast = "reserve"

// WithBallast runs write. If the disk is full, it releases the ballast and runs write once more.
func (g *Guard) WithBallast(write func() error) error {
	tried := time.Now()
	err := write()
	if IsFull(err) && g.releaseBallast(tried) {
		err = write()
	}
	return err
}

func (g *Guard) path() string { return filepath.Join(g.dir, ballastName) }

// findBallast reports whether the ballast exists with the right size, and removes other files with
// its names. Called with mu held.
func (g *Guard) findBallast() bool {
	g.adoptOld()
	_ = g.remove(g.path() + durable.TempSuffix)
	f, err := g.fs.Open(opBallast, g.path())
	if err != nil {
		return false
	}
	size, err := f.Size()
	_ = f.Close()
	if err == nil && size == g.size {
		return true
	}
	_ = g.remove(g.path()) // its size is for another MinFree
	return false
}

// adoptOld renames the ballast of an earlier version, so that its blocks are not allocated twice. A
// crash leaves it under one of the two names. Called with mu held.
func (g *Guard) adoptOld() {
	old := filepath.Join(g.dir, oldBallastName)
	_ = g.remove(old + durable.TempSuffix)
	if there, err := g.fs.Exists(opBallast, old); err != nil || !there {
		return
	}
	if err := g.fs.Rename(opBallast, old, g.path()); err != nil {
		g.failed(opBallast, err)
	}
}

func (g *Guard) remove(path string) error {
	if err := g.fs.Remove(opBallast, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// createBallast allocates the ballast durably: its blocks are allocated before it gets its name.
// Called with mu held.
func (g *Guard) createBallast() {
	err := g.allocate()
	switch {
	case err == nil:
		g.ballast = true
		g.logOnce("")
	case IsFull(err):
		g.setFull("no space for the ballast")
	default:
		// Without ballast, an outage cannot be stated on a full disk until there is space; nothing
		// else depends on the ballast.
		g.failed(opBallast, err)
		g.logOnce("cannot create the ballast: " + err.Error())
	}
}

func (g *Guard) allocate() error {
	tmp := g.path() + durable.TempSuffix
	if err := g.remove(tmp); err != nil {
		return err
	}
	f, err := g.fs.Create(opBallast, tmp)
	if err != nil {
		return err
	}
	err = f.Allocate(g.size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = g.fs.Rename(opBallast, tmp, g.path())
	}
	if err != nil {
		_ = g.remove(tmp)
		return err
	}
	return g.fs.SyncDir(opBallast, g.dir)
}

// releaseBallast deletes the ballast file. It reports whether a write that failed at or after
// tried should be repeated.
func (g *Guard) releaseBallast(tried time.Time) bool {
	if g.minFree == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noticed.Store(false)
	g.setFull("a write failed for lack of space")
	if !g.ballast {
		// another write released it
		return !g.releasedAt.IsZero() && !g.releasedAt.Before(tried)
	}
	if err := g.remove(g.path()); err != nil {
		g.failed(opBallast, err)
		g.logOnce("cannot release the ballast: " + err.Error())
		return false
	}
	g.ballast, g.releasedAt = false, time.Now()
	// Some file systems reuse the blocks only after the removal is durable.
	if err := g.fs.SyncDir(opBallast, g.dir); err != nil {
		g.failed(opBallast, err)
	}
	g.log.Warn("released the ballast to record the outage", "bytes",
		g.size)
	return true
}
