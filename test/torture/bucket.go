package torture

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bucketWatcher polls the objects of all buckets and keeps what each key held. It reads the
// directory of the S3 server, so it works while the server is down.
type bucketWatcher struct {
	root string
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	known map[string]object // by bucket/key
	wrong []string
}

type object struct {
	inode  uint64
	size   int64
	mod    time.Time
	sha256 string
}

// watchBuckets starts polling a directory with one subdirectory for each bucket.
func watchBuckets(root string) *bucketWatcher {
	w := &bucketWatcher{
		root: root, stop: make(chan struct{}), done: make(chan struct{}),
		known: map[string]object{},
	}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

func (w *bucketWatcher) close() { close(w.stop); <-w.done }

// look records the current objects. The next call handles objects that vanish during this one.
func (w *bucketWatcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	here := map[string]bool{}
	_ = filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".sgwtmp") { // the S3 server's unfinished uploads
				return fs.SkipDir
			}
			return nil
		}
		key, err := filepath.Rel(w.root, path)
		if err == nil {
			here[key] = true
			w.see(key, path)
		}
		return nil
	})
	for key := range w.known {
		if !here[key] {
			w.wrong = append(w.wrong, fmt.Sprintf("object %s was removed", key))
			delete(w.known, key)
		}
	}
}

func (w *bucketWatcher) see(key, path string) {
	st, err := os.Stat(path)
	if err != nil {
		return
	}
	o := object{size: st.Size(), mod: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		o.inode = sys.Ino
	}
	before, known := w.known[key]
	if known && before.inode == o.inode && before.size == o.size && before.mod.Equal(o.mod) {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	sum := sha256.Sum256(b)
	o.sha256 = hex.EncodeToString(sum[:])
	if known && before.sha256 != o.sha256 {
		w.wrong = append(w.wrong,
			fmt.Sprintf("object %s of %d bytes was replaced by %d other bytes", key, before.size,
				o.size))
	}
	w.known[key] = o
}

// check returns the problems of a bucket in which the given keys are expected: replaced objects,
// and objects that belong to no recording.
func (w *bucketWatcher) check(bucket string, expected map[string]bool) error {
	w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	rest := w.wrong[:0]
	for _, s := range w.wrong {
		if strings.HasPrefix(s, "object "+bucket+"/") {
			errs = append(errs, errors.New(s))
		} else {
			rest = append(rest, s)
		}
	}
	w.wrong = rest
	for key := range w.known {
		if k, ok := strings.CutPrefix(key, bucket+"/"); ok && !expected[k] {
			errs = append(errs, fmt.Errorf("object %s belongs to no recording", key))
		}
	}
	return errors.Join(errs...)
}
