package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/segment"
)

// The errors of a disk without space.
var (
	// ErrDiskLow: there is less free space than Options.DiskMinFree, so no
	// recording of a new session is begun. Those that are open go on.
	ErrDiskLow = errors.New("the disk is nearly full")
	// ErrDiskFull: a write found no space, and since then there was none; packets
	// are refused without being tried, so that what is left of the disk serves to
	// say what was missed. See IsDiskFull.
	ErrDiskFull = errors.New("the disk is full")
)

// IsDiskFull reports whether err is that of a disk (or a quota) without space.
func IsDiskFull(err error) bool {
	return errors.Is(err, ErrDiskFull) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT)
}

const (
	// reserveShare of DiskMinFree is the size of the reserve.
	reserveShare = 16
	// diskEvery is how often the space is looked at when nothing asks for it, and
	// recheckEvery how often at most while packets are refused.
	diskEvery    = 5 * time.Second
	recheckEvery = 100 * time.Millisecond
	// A file system can run out of files, too.
	minFreeFiles  = 256
	leastFreeFile = 16
)

// disk watches the file system of the data directory and keeps the reserve: a
// file that occupies blocks for nothing but to be removed when there are no
// others. The outages, seals and state files that are written then are small;
// packets are not, and are refused until the reserve is there again.
type disk struct {
	fs      durable.FS
	dir     string
	log     *slog.Logger
	metrics *metrics
	minFree uint64 // 0: nothing is watched, and there is no reserve
	reserve int64

	full atomic.Bool // written with mu held

	// mu is held over statfs and over making and removing the reserve, all of
	// which are rare.
	mu       sync.Mutex
	space    durable.Space
	checked  time.Time // when space was asked for
	told     time.Time // when it was last told
	gave     time.Time // when the reserve was last given back
	since    time.Time // of low or full; zero: neither
	low      bool
	reserved bool   // the reserve file is there
	trouble  string // of the last look, so that it is logged once
}

// DiskStatus is what is known about the disk of a data directory.
type DiskStatus struct {
	Free    uint64 // bytes that can be used, at the last look
	MinFree uint64 // Options.DiskMinFree; 0: not watched
	Reserve int64  // bytes held in reserve now; 0 while it is given back
	// Low: no new session is taken. Full: packets are refused as well.
	Low, Full bool
	Since     time.Time // since when Low or Full; zero: neither
	// FailedSyncs are the recordings of which an fsync failed lately, with the time
	// of the last failure. They are suspect for good; this is about the disk.
	FailedSyncs []FailedSync
}

// FailedSync names a recording of which an fsync failed.
type FailedSync struct {
	EgressID string
	At       time.Time
}

// Disk returns the state of the disk as of the last look, at most some seconds
// ago.
func (s *Spool) Disk() DiskStatus {
	d := s.disk
	d.mu.Lock()
	st := DiskStatus{
		Free: d.space.Free, MinFree: d.minFree, Low: d.low, Full: d.full.Load(),
		Since: d.since,
	}
	if d.reserved {
		st.Reserve = d.reserve
	}
	d.mu.Unlock()
	st.FailedSyncs = s.failedSyncs(time.Now())
	return st
}

// prepare makes the reserve when the spool is opened. A disk without room for it
// keeps nobody from opening: what is on it is to be delivered.
func (d *disk) prepare() {
	if d.minFree == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reserved = d.findReserve()
	d.look(time.Now())
	if !d.reserved && d.checked.Equal(d.told) && d.space.Free < 2*uint64(d.reserve) {
		d.setFull("there is no room for the reserve")
	}
}

func (d *disk) path() string { return filepath.Join(d.dir, ballastName) }

// findReserve reports whether the reserve is there as it should be, and removes
// what else has its names. Called with mu held.
func (d *disk) findReserve() bool {
	d.adoptOld()
	_ = d.remove(d.path() + durable.TempSuffix)
	f, err := d.fs.Open("reserve", d.path())
	if err != nil {
		return false
	}
	size, err := f.Size()
	_ = f.Close()
	if err == nil && size == d.reserve {
		return true
	}
	_ = d.remove(d.path()) // another DISK_MIN_FREE
	return false
}

// adoptOld takes over what an earlier version made, so that its blocks are not taken twice. A crash
// leaves it under one of the two names. Called with mu held.
func (d *disk) adoptOld() {
	old := filepath.Join(d.dir, oldBallastName)
	_ = d.remove(old + durable.TempSuffix)
	if there, err := d.fs.Exists("reserve", old); err != nil || !there {
		return
	}
	if err := d.fs.Rename("reserve", old, d.path()); err != nil {
		_ = d.metrics.count(opReserve, err)
	}
}

func (d *disk) remove(path string) error {
	if err := d.fs.Remove("reserve", path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeReserve allocates the reserve durably: its blocks are taken before it has
// its name. Called with mu held.
func (d *disk) makeReserve() {
	err := d.allocate()
	switch {
	case err == nil:
		d.reserved = true
		d.note("")
	case IsDiskFull(err):
		d.setFull("there is no room for the reserve")
	default:
		// Without a reserve a full disk cannot be written about until there is
		// space; nothing else depends on it.
		_ = d.metrics.count(opReserve, err)
		d.note("cannot make the reserve: " + err.Error())
	}
}

func (d *disk) allocate() error {
	tmp := d.path() + durable.TempSuffix
	if err := d.remove(tmp); err != nil {
		return err
	}
	f, err := d.fs.Create("reserve", tmp)
	if err != nil {
		return err
	}
	err = f.Allocate(d.reserve)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.fs.Rename("reserve", tmp, d.path())
	}
	if err != nil {
		_ = d.remove(tmp)
		return err
	}
	return d.fs.SyncDir("reserve", d.dir)
}

// give gives the reserve back to the file system, for somebody who has to write
// what cannot wait and found no space in a try begun at tried. False where another
// try is of no use.
func (d *disk) give(tried time.Time) bool {
	if d.minFree == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setFull("a write found no space")
	if !d.reserved {
		return !d.gave.IsZero() && !d.gave.Before(tried) // somebody else was quicker
	}
	if err := d.remove(d.path()); err != nil {
		_ = d.metrics.count(opReserve, err)
		d.note("cannot give the reserve back: " + err.Error())
		return false
	}
	d.reserved, d.gave = false, time.Now()
	// Some file systems hand the blocks out again only after the removal is
	// durable.
	if err := d.fs.SyncDir("reserve", d.dir); err != nil {
		_ = d.metrics.count(opReserve, err)
	}
	d.log.Warn("the reserve is given back, to write what the full disk makes us miss", "bytes",
		d.reserve)
	return true
}

// found notes that a write failed with err.
func (d *disk) found(err error) {
	if err == nil || d.minFree == 0 || !IsDiskFull(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look(time.Now())
	if d.told.Equal(d.checked) && d.reserved && !d.fewFiles() &&
		d.space.Free >= 2*uint64(d.reserve) {
		// Refusing packets would not help those that have no quota left either.
		d.note("a write found no space although there is some: a quota, or somebody has " +
			"just made room")
		return
	}
	d.setFull("a write found no space")
}

// refuse returns an error while packets are to be refused. It looks again itself,
// so that whoever asks in a loop notices when there is space.
func (d *disk) refuse() error {
	if !d.full.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.checked) >= recheckEvery {
		d.look(now)
	}
	if !d.full.Load() {
		return nil
	}
	return fmt.Errorf("%w: %s free", ErrDiskFull, showSize(d.space.Free))
}

// admit returns an error while no new session is to be taken.
func (d *disk) admit(continued bool) error {
	if d.minFree == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look(time.Now())
	if d.full.Load() || d.low && !continued {
		return fmt.Errorf("%w: %s free on the file system of the data directory %s, "+
			"DISK_MIN_FREE is %s; "+
			"no new session is taken until there is room, those that are being recorded go on",
			ErrDiskLow, showSize(d.space.Free), d.dir, showSize(d.minFree))
	}
	return nil
}

// check looks at the disk.
func (d *disk) check() {
	if d.minFree == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look(time.Now())
}

// look asks the file system and draws the conclusions. Called with mu held.
func (d *disk) look(now time.Time) {
	space, err := d.fs.Space("space", d.dir)
	d.checked = now
	if err != nil {
		_ = d.metrics.count(opSpace, err)
		d.note("cannot tell how much space is free: " + err.Error())
		return
	}
	d.space, d.told = space, now
	d.setLow()
	switch {
	case d.fewFiles():
	case !d.reserved && space.Free >= 2*uint64(d.reserve):
		// Half of what is free is taken; the other half is for those who wait.
		if d.makeReserve(); d.reserved {
			d.endFull()
		}
	case d.reserved && space.Free >= uint64(d.reserve):
		d.endFull()
	}
}

func (d *disk) fewFiles() bool { return d.space.Files > 0 && d.space.FreeFiles < leastFreeFile }

// setLow has some distance between its two thresholds, so that it does not come
// and go with every packet. Called with mu held.
func (d *disk) setLow() {
	leastBytes, leastFiles := d.minFree, uint64(minFreeFiles)
	if d.low {
		leastBytes, leastFiles = d.minFree+d.minFree/reserveShare, 2*minFreeFiles
	}
	low := d.space.Free < leastBytes || d.space.Files > 0 && d.space.FreeFiles < leastFiles
	if low == d.low {
		return
	}
	d.low = low
	if low {
		d.log.Error("the disk is nearly full: no new session is taken until there is room; those "+
			"that are being recorded go on",
			"data_dir", d.dir, "free_bytes", d.space.Free, "free_files", d.space.FreeFiles,
			"disk_min_free", d.minFree)
	} else {
		d.log.Info("the disk has room again: new sessions are taken", "free_bytes", d.space.Free)
	}
	d.setSince()
}

// setFull refuses packets from now on. Called with mu held.
func (d *disk) setFull(why string) {
	if d.full.Load() {
		return
	}
	d.full.Store(true)
	d.log.Error("the disk is full: what arrives waits, and after a while the rooms are left; it "+
		"goes on by itself when there is room",
		"data_dir", d.dir, "cause", why)
	d.setSince()
}

// endFull lets packets in again. Called with mu held.
func (d *disk) endFull() {
	if !d.full.Load() {
		return
	}
	d.full.Store(false)
	d.log.Info("the disk can be written again", "free_bytes", d.space.Free)
	d.setSince()
}

func (d *disk) setSince() {
	switch {
	case !d.low && !d.full.Load():
		d.since = time.Time{}
	case d.since.IsZero():
		d.since = time.Now()
	}
}

// note logs what is wrong with watching, once. Called with mu held.
func (d *disk) note(trouble string) {
	if trouble != "" && trouble != d.trouble {
		d.log.Error("the disk does not behave as expected", "data_dir", d.dir, "trouble", trouble)
	}
	d.trouble = trouble
}

// withReserve runs write, and once more with the reserve given back where the
// disk is full.
func (s *Spool) withReserve(write func() error) error {
	tried := time.Now()
	err := write()
	if IsDiskFull(err) && s.disk.give(tried) {
		err = write()
	}
	return err
}

// CheckStaging reports whether there is room to derive the objects of a sealed
// recording on this disk: nil, or an error that wraps ErrDiskLow. Deriving needs
// about as much again as the segments have, in the worst case twice; a quarter of
// DiskMinFree is left to the recordings that go on.
func (r *Recording) CheckStaging() error {
	sealed, ok := r.Sealed()
	if !ok {
		return nil
	}
	return r.spool.disk.room(sealed.Segments, "deriving the objects of")
}

// CheckRoom reports whether what CheckStaging keeps for the recordings that go on
// is still free.
func (r *Recording) CheckRoom() error {
	return r.spool.disk.room(nil, "deriving the objects of")
}

// room returns an error unless there is room for twice the segments beside what is
// kept for the recordings that go on.
func (d *disk) room(segments []segment.Info, what string) error {
	if d.minFree == 0 {
		return nil
	}
	need := uint64(0)
	for _, seg := range segments {
		need += 2 * uint64(min(seg.Size, math.MaxInt64/int64(2*len(segments))))
	}
	d.check()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch free := d.space.Free; {
	case !d.full.Load() && free >= d.minFree/4 && free-d.minFree/4 >= need:
		return nil
	case need == 0:
		return fmt.Errorf("%w: %s this recording would take more room than the segments have, %s "+
			"are free and %s are kept for the recordings "+
			"that go on; make room outside of the data directory, then it is tried again",
			ErrDiskLow, what, showSize(free), showSize(d.minFree/4))
	default:
		return fmt.Errorf("%w: %s this recording may need %s, %s are free and %s are kept for "+
			"the recordings that go on; "+
			"make room outside of the data directory, then it is tried again", ErrDiskLow, what,
			showSize(need), showSize(free), showSize(d.minFree/4))
	}
}

// showSize writes an amount of bytes for people.
func showSize(n uint64) string {
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
