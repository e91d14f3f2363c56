package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/segment"
)

// rewriter copies frames segment by segment.
type rewriter struct {
	spool *Spool
	dir   string
	edit  Edit
	// seed is derived from data that outsiders cannot predict. Markers and salts are derived from
	// it, so that the same replacement produces the same bytes.
	seed [sha256.Size]byte

	reader *segment.Reader
	name   string // name of the segment that is being written
	out    durable.File
	header segment.Header
	buf    []byte

	fillers   int64 // number of fillers that may still be written
	unchecked int   // bytes written since the last disk check
}

// checkEvery is the number of bytes written between two disk checks.
const checkEvery = 16 << 20

// checkOrder rejects names that are not segment names in order.
func checkOrder(segments []segment.Source) error {
	last := uint32(0)
	for _, seg := range segments {
		n, ok := segment.Number(seg.Name)
		if !ok || n <= last {
			return fmt.Errorf("%q is not the name of the next segment", seg.Name)
		}
		last = n
	}
	return nil
}

// vanishedFrames exceeds the number of frames in a segment of the usual size. Such a segment may
// have vanished before the recording was sealed.
const vanishedFrames = 1 << 21

// mostFillers returns the number of frames that the sealed segments can have held, plus
// vanishedFrames. No more frames can be missing, whatever the indexes say.
func mostFillers(sealed []segment.Info) int64 {
	n := int64(vanishedFrames)
	for _, seg := range sealed {
		n += seg.Size / segment.FrameHeaderSize
	}
	return n
}

func (p *rewriter) run(segments []segment.Source) error {
	p.reader = segment.NewReader(segments, segment.ReaderOptions{})
	defer p.reader.Close() //nolint:errcheck // reading only
	err := p.copy()
	if cerr := p.closeSegment(err == nil); err == nil {
		err = cerr
	}
	return err
}

func (p *rewriter) copy() error {
	for {
		f, err := p.reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if name := p.reader.Segment(); name != p.name {
			if err := p.closeSegment(true); err != nil {
				return err
			}
			p.name = name
		}
		if err := p.write(f); err != nil {
			return err
		}
	}
}

// write writes one frame or, if it represents several missing ones, a frame for each of them, so
// that the indexes have no gap.
func (p *rewriter) write(f segment.Frame) error {
	missing := int64(1)
	if f.Damage {
		if missing = f.Event.FramesMissing; missing == 0 {
			return nil // without an index, the frame has no position
		}
	}
	if p.fillers -= missing - 1; p.fillers < 0 {
		return fmt.Errorf("the indexes in segment %s imply %d missing frames, more than the "+
			"segments in sealed.json can hold", p.name, missing)
	}
	if f.Type == segment.FrameState {
		// a sealed recording needs no state, and the state names participants
		f.Payload = []byte("{}")
	}
	index := f.Index
	if err := p.edit(&f); err != nil {
		return err
	}
	f.Index = index
	if err := p.append(&f); err != nil {
		return err
	}
	for i := int64(1); i < missing; i++ {
		filler := f
		filler.Index, filler.Payload = index+uint64(i), []byte(fillerEvent)
		if err := p.append(&filler); err != nil {
			return err
		}
	}
	return nil
}

func (p *rewriter) append(f *segment.Frame) error {
	if p.out == nil {
		if err := p.begin(f); err != nil {
			return err
		}
	}
	p.buf = p.header.AppendFrame(p.buf[:0], f)
	if p.unchecked += len(p.buf); p.unchecked >= checkEvery {
		p.unchecked = 0
		if err := p.spool.disk.Room(0, "removing a participant from"); err != nil {
			return err
		}
	}
	_, err := p.out.Write(p.buf)
	return err
}

func (p *rewriter) begin(f *segment.Frame) error {
	number, _ := segment.Number(p.name)
	h := segment.Header{
		Number: number, FirstIndex: f.Index, CreatedUnixNS: p.reader.Header().CreatedUnixNS,
	}
	for try := byte(0); bytes.IndexByte(h.Marker[:], 0) >= 0; try++ {
		sum := sha256.Sum256(append(binary.LittleEndian.AppendUint32(append([]byte{try},
			p.seed[:]...), number), "segment"...))
		copy(h.Marker[:], sum[:])
		copy(h.Salt[:], sum[8:])
	}
	var err error
	if p.out, err = p.spool.fs.Create("replace", filepath.Join(p.dir, p.name)); err != nil {
		return err
	}
	p.header = h
	_, err = p.out.Write(h.Append(nil))
	return err
}

// closeSegment closes the segment that is being written, and makes it durable if it is complete.
func (p *rewriter) closeSegment(complete bool) error {
	if p.out == nil {
		return nil
	}
	var err error
	if complete {
		err = p.out.Sync()
	}
	err = errors.Join(err, p.out.Close())
	p.out = nil
	return err
}
