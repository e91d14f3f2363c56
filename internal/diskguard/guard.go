// Package diskguard protects recordings from a full disk.
//
// A [Guard] watches the free space of a file system and keeps the ballast: a preallocated file that
// it deletes when an urgent write finds no space. [Guard.FS] is a file system that records every
// write that finds no space; [Guard.WithBallast] retries a write after releasing the ballast;
// [Guard.Writable] and [Guard.Admit] refuse writes and recordings that would use up the remaining
// space.
package diskguard

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/syncflow/textegress/internal/durable"
)

// The errors of a disk without space.
var (
	// ErrLow means that free space is below Options.MinFree, so no new session is accepted.
	// Recordings in progress continue.
	ErrLow = errors.New("the disk is nearly full")
	// ErrFull means that a write found no space and that there has been no space since. Packets are
	// rejected without a write, so that the remaining space can be used to record the outage. See
	// IsFull.
	ErrFull = errors.New("the disk is full")
)

// IsFull reports whether err is that of a disk (or a quota) without space.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT)
}

const (
	// ballastShare of MinFree is the size of the ballast.
	ballastShare = 16
	// PollEvery is the interval of the regular polls of the free space. recheckEvery is the minimum
	// interval between polls while packets are rejected.
	PollEvery    = 5 * time.Second
	recheckEvery = 100 * time.Millisecond
	// Thresholds for the number of free files, because a file system can also run out of files.
	lowFiles  = 256
	fullFiles = 16
)

// Reserved returns how many bytes of minFree (DISK_MIN_FREE) stay free for running recordings while
// other work, such as a delivery, writes to a disk.
func Reserved(minFree int64) int64 { return minFree / 4 }

// Options tunes a Guard.
type Options struct {
	// MinFree is the free space in bytes below which no new session is accepted. The ballast is a
	// sixteenth of it. If MinFree is 0, the guard does not monitor the disk, and there is no
	// ballast.
	MinFree int64
	Logger  *slog.Logger
	// Failed, if not nil, is called with each failure of the guard's own operations: "reserve"
	// (creating or releasing the ballast) or "space" (reading the free space).
	Failed func(op string, err error)
}

// Guard watches the file system of a directory. Its methods are safe for concurrent use.
//
// The ballast is released only for outages, seals and state files, which are small. Packets do not
// release it; they are rejected until the ballast exists again.
type Guard struct {
	fs      durable.FS
	dir     string
	log     *slog.Logger
	failed  func(op string, err error)
	minFree uint64 // 0: the disk is not monitored
	size    int64  // of the ballast

	full    atomic.Bool // written with mu held
	noticed atomic.Bool // a write failed for lack of space since the last poll

	// mu is held over statfs and over creating and deleting the ballast, which are all rare. No
	// other lock is taken while it is held.
	mu          sync.Mutex
	space       durable.Space
	polled      time.Time // when space was last polled
	lastOK      time.Time // of the last successful poll
	releasedAt  time.Time // when the ballast was last released
	since       time.Time // start of low or full; zero: neither
	low         bool
	ballast     bool   // the ballast exists
	lastTrouble string // problem of the last poll, kept so that it is logged once
}

// Status is the status of the disk.
type Status struct {
	Free    uint64 // usable bytes at the last poll
	MinFree uint64 // Options.MinFree; 0: not monitored
	Ballast int64  // current size in bytes of the ballast; 0 while it is released
	// Low means that no new session is accepted, Full that packets are rejected as well.
	Low, Full bool
	Since     time.Time // start of Low or Full; zero: neither
}

// New returns a guard of the file system that holds dir. Start creates the ballast.
func New(fsys durable.FS, dir string, o Options) *Guard {
	g := &Guard{
		fs: fsys, dir: dir, log: o.Logger, failed: o.Failed,
		minFree: uint64(max(o.MinFree, 0)), size: max(o.MinFree, 0) / ballastShare,
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.failed == nil {
		g.failed = func(string, error) {}
	}
	return g
}

// Start creates the ballast. A disk without room for it is not an error: the recordings on it must
// still be delivered.
func (g *Guard) Start() {
	if g.minFree == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ballast = g.findBallast()
	g.poll(time.Now())
	if !g.ballast && g.polled.Equal(g.lastOK) && g.space.Free < 2*uint64(g.size) {
		g.setFull("no space for the ballast")
	}
}

// Status returns the state of the disk as of the last poll.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.considerFailure()
	st := Status{
		Free: g.space.Free, MinFree: g.minFree, Low: g.low, Full: g.full.Load(), Since: g.since,
	}
	if g.ballast {
		st.Ballast = g.size
	}
	return st
}

// Writable returns an error that IsFull recognises while the disk is known to be full, and nil
// otherwise. It polls, so a caller in a loop detects when space becomes available.
func (g *Guard) Writable() error {
	if !g.full.Load() && !g.noticed.Load() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.considerFailure()
	if now := time.Now(); g.full.Load() && now.Sub(g.polled) >= recheckEvery {
		g.poll(now)
	}
	if !g.full.Load() {
		return nil
	}
	return fmt.Errorf("%w: %s free", ErrFull, FormatSize(g.space.Free))
}

// Admit returns an error that wraps ErrLow while no new session may be accepted. A further part of
// a session in progress (continued) is accepted as long as there is any space.
func (g *Guard) Admit(continued bool) error {
	if g.minFree == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.poll(time.Now())
	if g.full.Load() || g.low && !continued {
		return fmt.Errorf("%w: %s free on the file system of the data directory %s, "+
			"DISK_MIN_FREE is %s; new sessions are refused until there is space, running "+
			"recordings continue",
			ErrLow, FormatSize(g.space.Free), g.dir, FormatSize(g.minFree))
	}
	return nil
}

// Room returns an error that wraps ErrLow unless need bytes are free in addition to the Reserved
// ones. The error text includes what, the purpose of the bytes.
func (g *Guard) Room(need uint64, what string) error {
	if g.minFree == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.poll(time.Now())
	kept := uint64(Reserved(int64(g.minFree)))
	switch free := g.space.Free; {
	case !g.full.Load() && free >= kept && free-kept >= need:
		return nil
	case need == 0:
		return fmt.Errorf("%w: %s this recording takes more space than its segments; %s free, "+
			"and %s stay reserved for running recordings; free space outside the data directory",
			ErrLow, what, FormatSize(free), FormatSize(kept))
	default:
		return fmt.Errorf("%w: %s this recording may need %s; %s free, and %s stay reserved "+
			"for running recordings; free space outside the data directory", ErrLow, what,
			FormatSize(need), FormatSize(free), FormatSize(kept))
	}
}

// PollIfDue polls if the last poll was at least PollEvery ago.
func (g *Guard) PollIfDue(now time.Time) {
	if g.minFree == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.polled) >= PollEvery {
		g.poll(now)
	}
}

// poll refreshes the free space and updates low and full. Called with mu held.
func (g *Guard) poll(now time.Time) {
	noticed := g.noticed.Swap(false)
	g.refresh(now)
	if !noticed {
		return
	}
	if g.lastOK.Equal(g.polled) && g.ballast && !g.outOfFiles() &&
		g.space.Free >= 2*uint64(g.size) {
		// If a quota is the cause, rejecting packets would not help.
		g.logOnce("a write failed for lack of space although space is free: check for a quota, " +
			"unless space was freed just now")
		return
	}
	g.setFull("a write failed for lack of space")
}

// considerFailure polls if a write has found no space since the last poll. Called with mu held.
func (g *Guard) considerFailure() {
	if g.noticed.Load() {
		g.poll(time.Now())
	}
}

func (g *Guard) refresh(now time.Time) {
	space, err := g.fs.Space("space", g.dir)
	g.polled = now
	if err != nil {
		g.failed("space", err)
		g.logOnce("cannot read the free space: " + err.Error())
		return
	}
	g.space, g.lastOK = space, now
	g.updateLow()
	switch {
	case g.outOfFiles():
	case !g.ballast && space.Free >= 2*uint64(g.size):
		// The ballast takes at most half of the free space; the other half is for waiting writes.
		if g.createBallast(); g.ballast {
			g.endFull()
		}
	case g.ballast && space.Free >= uint64(g.size):
		g.endFull()
	}
}

func (g *Guard) outOfFiles() bool { return g.space.Files > 0 && g.space.FreeFiles < fullFiles }

// updateLow uses two thresholds (hysteresis), so that low does not flip with every packet. Called
// with mu held.
func (g *Guard) updateLow() {
	leastBytes, leastFiles := g.minFree, uint64(lowFiles)
	if g.low {
		leastBytes, leastFiles = g.minFree+g.minFree/ballastShare, 2*lowFiles
	}
	low := g.space.Free < leastBytes || g.space.Files > 0 && g.space.FreeFiles < leastFiles
	if low == g.low {
		return
	}
	g.low = low
	if low {
		g.log.Error("the disk is nearly full: new sessions are refused until there is space; "+
			"running recordings continue",
			"data_dir", g.dir, "free_bytes", g.space.Free, "free_files", g.space.FreeFiles,
			"disk_min_free", g.minFree)
	} else {
		g.log.Info("the disk has space again: new sessions are accepted",
			"free_bytes", g.space.Free)
	}
	g.updateSince()
}

// setFull starts rejecting packets. Called with mu held.
func (g *Guard) setFull(why string) {
	if g.full.Load() {
		return
	}
	g.full.Store(true)
	g.log.Error("the disk is full: recorders stop reading and leave their rooms after a while; "+
		"recording resumes automatically when there is space",
		"data_dir", g.dir, "cause", why)
	g.updateSince()
}

// endFull stops rejecting packets. Called with mu held.
func (g *Guard) endFull() {
	if !g.full.Load() {
		return
	}
	g.full.Store(false)
	g.log.Info("the disk has space for packets again", "free_bytes", g.space.Free)
	g.updateSince()
}

func (g *Guard) updateSince() {
	switch {
	case !g.low && !g.full.Load():
		g.since = time.Time{}
	case g.since.IsZero():
		g.since = time.Now()
	}
}

// logOnce logs a problem of the guard, unless it was the last one logged. Called with mu held.
func (g *Guard) logOnce(trouble string) {
	if trouble != "" && trouble != g.lastTrouble {
		g.log.Error("problem with the disk", "data_dir", g.dir, "trouble", trouble)
	}
	g.lastTrouble = trouble
}

// FormatSize formats a number of bytes for display.
func FormatSize(n uint64) string {
	switch {
	case n >= 10<<30:
		return strconv.FormatUint(n>>30, 10) + " GiB"
	case n >= 10<<20:
		return strconv.FormatUint(n>>20, 10) + " MiB"
	case n >= 10<<10:
		return strconv.FormatUint(n>>10, 10) + " KiB"
	}
	return strconv.FormatUint(n, 10) + " bytes"
}
