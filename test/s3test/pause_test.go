package s3test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"testing"
)

type readSeekCloser = io.ReadSeekCloser

// pausingReader stops at an offset, the first time it comes there, until it may go on.
type pausingReader struct {
	readSeekCloser
	at      int64
	reached chan<- struct{}
	resume  <-chan struct{}
	once    sync.Once
}

func (r *pausingReader) Read(p []byte) (int, error) {
	pos, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if pos >= r.at {
		r.once.Do(func() {
			close(r.reached)
			<-r.resume
		})
	}
	return r.readSeekCloser.Read(p)
}

// sum returns the hexadecimal SHA-256 of what r yields, and closes it.
func sum(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Error(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
