package spool

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/syncflow/textegress/segment"
)

// slow is a segment file that answers when it is allowed to.
type slow struct{ answer, reading chan struct{} }

func (s slow) Read([]byte) (int, error) {
	s.reading <- struct{}{}
	<-s.answer
	return 0, io.EOF
}
func (s slow) Close() error { return nil }

// A read that an end of the export left alone says nothing about the disk: the next export opens
// the segment.
func TestReadLeftAloneIsNoSilence(t *testing.T) {
	file := slow{make(chan struct{}), make(chan struct{})}
	defer close(file.answer)
	seg := localSource{silent: new(atomic.Int32), Source: segment.Source{
		Name: "000001.seg", Open: func() (io.ReadCloser, error) { return file, nil },
	}}
	why := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := patient(ctx, seg).Open()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-file.reading
		cancel(why)
	}()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Errorf("%v, want the cause of the end", err)
	}
	again, err := patient(t.Context(), seg).Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.Close(), r.Close()); err != nil {
		t.Error(err)
	}
}
