package rtc

import (
	"errors"
	"io"
	"testing"
	"time"
)

// bufferWatch is a data channel that delivers messages of given sizes and notes
// the buffers that it is given.
type bufferWatch struct {
	sizes []int
	given []int
}

var errOver = errors.New("no more messages")

func (b *bufferWatch) ReadDataChannel(p []byte) (int, bool, error) {
	b.given = append(b.given, len(p))
	switch {
	case len(b.sizes) == 0:
		return 0, false, errOver
	case b.sizes[0] > len(p):
		return 0, false, io.ErrShortBuffer
	}
	n := b.sizes[0]
	b.sizes = b.sizes[1:]
	return n, false, nil
}

func (b *bufferWatch) WriteDataChannel([]byte, bool) (int, error) { return 0, errOver }
func (b *bufferWatch) Read([]byte) (int, error)                   { return 0, errOver }
func (b *bufferWatch) Write([]byte) (int, error)                  { return 0, errOver }
func (b *bufferWatch) Close() error                               { return nil }

// One huge message must not cost its room megabytes for hours, nor should a room with large
// messages make a buffer for each.
func TestReadBuffersShrink(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sizes []int
		kept  int // the buffer at the end
		reads int
	}{
		{"small", []int{1, 2000, 2}, firstBuffer, 5},
		{
			"the largest that LiveKit forwards, again and again",
			[]int{66_000, 66_000, 66_000},
			keepBuffer, 1 + 3 + 6 + 1,
		},
		{"more than LiveKit forwards", []int{4_000_000, 1}, firstBuffer, 1 + 2 + 11 + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &Conn{
				deliver: func(Channel, time.Time, []byte) {}, started: time.Now(),
				dtls: newDTLSConn(),
			}
			raw := &bufferWatch{sizes: tt.sizes}
			if err := c.deliverAll(Reliable, 1, raw); !errors.Is(err, errOver) {
				t.Fatal(err)
			}
			if last := raw.given[len(raw.given)-1]; last != tt.kept {
				t.Errorf("a buffer of %d bytes is kept, want %d", last, tt.kept)
			}
			if len(raw.given) != tt.reads {
				t.Errorf("%d reads with buffers %v, want %d", len(raw.given), raw.given, tt.reads)
			}
		})
	}
}
