package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

const (
	compressedSuffix = ".zst"
	copyBuffer       = 256 << 10
)

// The encoder's settings are part of Version: other settings would give other bytes. One goroutine
// makes the result independent of timing. A small window bounds memory and is sufficient, because
// packets repeat each other within short distances.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(1<<20),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true),
		// Without this option, a frame of less than 256 bytes has no content size. The option has
		// no effect on frames of more than one block.
		zstd.WithSingleSegment(true))
}

// state copies the state files.
func (b *builder) state() error {
	for _, name := range []string{recordingFile, sealedFile} {
		data, err := b.src.StateFile(name)
		if errors.Is(err, fs.ErrNotExist) && name == sealedFile {
			continue // not sealed yet
		}
		if err != nil {
			return fmt.Errorf("render: %w", err)
		}
		if err := b.out.WriteObject(textegress.RawDir+name, typeJSON, data); err != nil {
			return err
		}
	}
	return nil
}

// compression compresses the segments without changing their content. Several goroutines can share
// the work: each takes the next segment.
type compression struct {
	segments []segment.Source
	next     atomic.Int64
}

func newCompression(ctx context.Context, src Source) (*compression, error) {
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	there := slices.DeleteFunc(slices.Clone(segments),
		func(s segment.Source) bool { return s.Open == nil })
	return &compression{segments: there}, nil
}

// work compresses segments until none remains.
func (c *compression) work(ctx context.Context, out *Output) error {
	z, err := newEncoder()
	if err != nil {
		return fmt.Errorf("render: compress: %w", err)
	}
	defer z.Close() //nolint:errcheck // the result is that of Close below
	buf := make([]byte, copyBuffer)
	for {
		i := int(c.next.Add(1)) - 1
		if i >= len(c.segments) {
			return nil
		}
		if err := compress(ctx, z, buf, out, c.segments[i]); err != nil {
			return err
		}
	}
}

// compress compresses a segment into one Zstandard frame. The frame states the size of its content,
// because readers that decompress a whole frame at once, such as zstandard.decompress in Python,
// need it.
func compress(ctx context.Context, z *zstd.Encoder, buf []byte, o *Output,
	seg segment.Source,
) (err error) {
	size, err := contentSize(ctx, seg, buf)
	if err != nil {
		return fmt.Errorf("render: read segment %s: %w", seg.Name, err)
	}
	r, err := seg.Open()
	if err != nil {
		return fmt.Errorf("render: read segment %s: %w", seg.Name, err)
	}
	defer r.Close() //nolint:errcheck // reading only
	key := textegress.RawDir + seg.Name + compressedSuffix
	out := o.Create(key, typeZstd, key)
	if size == 0 { // the stream would not state the size
		if _, err := out.Write(z.EncodeAll(nil, nil)); err != nil {
			return err
		}
		return out.Close()
	}
	z.ResetContentSize(out, size)
	// Anything appended meanwhile, to a recording that is not sealed, is ignored.
	if _, err := io.CopyBuffer(writerOnly{z}, &ctxReader{ctx, io.LimitReader(r, size)},
		buf); err != nil {
		return fmt.Errorf("render: compress segment %s: %w", seg.Name, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("render: compress segment %s: %w", seg.Name, err)
	}
	return out.Close()
}

// contentSize reads a segment to its end: a compressed segment in a bucket need not state its size.
func contentSize(ctx context.Context, seg segment.Source, buf []byte) (int64, error) {
	r, err := seg.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // reading only
	return io.CopyBuffer(writerOnly{io.Discard}, &ctxReader{ctx, r}, buf)
}

// writerOnly hides the encoder's ReadFrom, so that a segment is always fed in the same way.
type writerOnly struct{ io.Writer }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
