package render

import (
	"errors"
	"io"
	"os"
)

// NewDiscardSink returns a sink that discards all objects. Its scratch files are in the system's
// temporary directory and leave keepFree bytes free on that file system.
func NewDiscardSink(keepFree int64) Sink { return discardSink{keepFree} }

type discardSink struct{ keepFree int64 }

func (s discardSink) Append(string) (io.WriteCloser, error) { return s, nil }
func (discardSink) Write(p []byte) (int, error)             { return len(p), nil }
func (discardSink) Close() error                            { return nil }

func (s discardSink) Scratch() (_ Scratch, err error) {
	dir, err := os.MkdirTemp("", "textegress-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // the file that it made stays open
	f, err := NewScratch(root)
	if err != nil {
		return nil, err
	}
	return guardedScratch{f, NewSpaceGuard(FreeSpace(os.TempDir(), s.keepFree))}, nil
}
