package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// point is a moment in the life of a recording that is visible in its directory.
type point struct {
	name string
	hit  func(mask uint32, dir, file string) bool
}

const (
	created = syscall.IN_CREATE
	named   = syscall.IN_MOVED_TO // a complete state file is renamed to its final name
	removed = syscall.IN_DELETE
)

func at(mask uint32, file string) point {
	verb := map[uint32]string{created: "begun", named: "there", removed: "removed"}[mask]
	return point{file + " " + verb, func(m uint32, dir, f string) bool {
		// the patterns below are valid
		if match, _ := filepath.Match(file, f); !match || m&mask == 0 {
			return false
		}
		// ignore an empty segment, which the next start removes
		if mask == removed {
			_, err := os.Stat(filepath.Join(dir, "uploaded.json"))
			return err == nil
		}
		return true
	}}
}

// points are the moments at which a recorder is killed, in the order in which a recording reaches
// them.
var points = []point{
	// detected by events beside the recordings
	{"directory made", func(uint32, string, string) bool { return false }},
	at(created, "recording.json.tmp"), at(named, "recording.json"), at(created, "*.seg"),
	at(created, "sealed.json.tmp"), at(named, "sealed.json"),
	at(created, "objects"), at(created, "export.json.tmp"), at(named, "export.json"),
	at(created, "uploaded.json.tmp"), at(named, "uploaded.json"), at(removed, "*.seg"),
}

// firstSealing is the first point that needs the end of the session.
const firstSealing = 4

// crashWatcher waits for a crash point in the directories of recordings, and acts at once.
type crashWatcher struct {
	f      *os.File
	fd     int
	root   string
	ignore map[string]bool  // names of directories
	dirs   map[int32]string // by watch descriptor
	hit    chan int         // the index of the point that was hit
}

// watchCrashPoints watches the recordings in dir, including future ones, except those to ignore.
// When the point with index from or a later one is reached, it calls act once and reports the
// index.
func watchCrashPoints(dir string, ignore map[string]bool, from int, act func()) (*crashWatcher,
	error,
) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	t := &crashWatcher{
		f: os.NewFile(uintptr(fd), "inotify"), fd: fd, root: dir, ignore: ignore,
		dirs: map[int32]string{}, hit: make(chan int, 1),
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	t.watch(dir)
	for _, e := range entries {
		if !ignore[e.Name()] {
			t.watch(filepath.Join(dir, e.Name()))
		}
	}
	go t.run(from, act)
	return t, nil
}

func (t *crashWatcher) watch(dir string) {
	// an error means that it is already removed
	if wd, err := syscall.InotifyAddWatch(t.fd, dir, created|named|removed); err == nil {
		t.dirs[int32(wd)] = dir
	}
}

func (t *crashWatcher) run(from int, act func()) {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.f.Read(buf)
		if err != nil {
			return // closed
		}
		for b := buf[:n]; len(b) >= syscall.SizeofInotifyEvent; {
			ev := (*syscall.InotifyEvent)(unsafe.Pointer(&b[0]))
			raw := b[syscall.SizeofInotifyEvent : syscall.SizeofInotifyEvent+int(ev.Len)]
			b = b[syscall.SizeofInotifyEvent+int(ev.Len):]
			if i := t.match(ev.Wd, ev.Mask, string(bytes.TrimRight(raw, "\x00")), from); i >= 0 {
				act()
				t.hit <- i
				return
			}
		}
	}
}

func (t *crashWatcher) match(wd int32, mask uint32, name string, from int) int {
	dir := t.dirs[wd]
	if dir != t.root {
		for i, p := range points[from:] {
			if p.hit(mask, dir, name) {
				return from + i
			}
		}
		return -1
	}
	if mask&created == 0 || mask&syscall.IN_ISDIR == 0 || t.ignore[name] {
		return -1
	}
	sub := filepath.Join(dir, name)
	t.watch(sub)
	if from == 0 {
		return 0
	}
	// Changes before the watch cause no event.
	entries, err := os.ReadDir(sub)
	if err != nil {
		return -1
	}
	delivered, segments := false, false
	for i, p := range points[from:] {
		for _, e := range entries {
			if p.hit(created|named, sub, e.Name()) {
				return from + i
			}
			delivered = delivered || e.Name() == "uploaded.json"
			segments = segments || strings.HasSuffix(e.Name(), ".seg")
		}
	}
	if delivered && !segments {
		return len(points) - 1 // the last point, which leaves no trace
	}
	return -1
}

func (t *crashWatcher) close() { t.f.Close() }

// wait returns the index of the crash point at which the watcher acted.
func (t *crashWatcher) wait(ctx context.Context, within time.Duration) (int, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case i := <-t.hit:
		return i, nil
	case <-timer.C:
		return 0, fmt.Errorf("no crash point was reached within %v", within)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// diskState names the state of one recording on disk.
func diskState(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "gone"
	}
	has, segments := map[string]bool{}, 0
	for _, e := range entries {
		has[e.Name()] = true
		if strings.HasSuffix(e.Name(), ".seg") {
			segments++
		}
	}
	switch {
	case strings.HasSuffix(dir, ".forgotten"):
		return "being forgotten"
	case has["uploaded.json"]:
		switch n := sealedSegments(dir); {
		case segments == 0 && !has["objects"]:
			return "12 removed"
		case segments < n:
			return "11 uploaded, partly removed"
		}
		return "10 uploaded"
	case has["uploaded.json.tmp"]:
		return "09 exported, uploaded.json begun"
	case has["export.json"]:
		return "08 exported: uploading"
	case has["export.json.tmp"]:
		return "07 sealed, export.json begun"
	case has["sealed.json"] && has["objects"]:
		return "06 sealed, objects being derived"
	case has["sealed.json"]:
		return "05 sealed"
	case has["sealed.json.tmp"]:
		return "04 open, sealed.json begun"
	case has["recording.json"] && segments > 0:
		return "03 open"
	case has["recording.json"]:
		return "02 recording.json alone"
	case has["recording.json.tmp"]:
		return "01 recording.json begun"
	}
	return "00 an empty directory"
}

// sealedSegments returns how many segments a sealed recording had.
func sealedSegments(dir string) int {
	var s struct {
		Segments []struct{} `json:"segments"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "sealed.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return 0
	}
	return len(s.Segments)
}
