package s3test

import (
	"io"
	"sync"
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
