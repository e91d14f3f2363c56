package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
)

const (
	maxBuffered  = 64 << 10 // per object
	totalBuffers = 4 << 20  // of all objects of an output together
)

// Output writes objects to a sink and computes the size and checksum of each. It keeps no object
// open: writes are buffered in memory and appended in large pieces, so that thousands of objects
// can be written at the same time.
type Output struct {
	sink      Sink
	all       []*Object
	buffered  int       // capacity of the buffers of all objects
	scratches []Scratch // files to be closed
}

func newOutput(sink Sink) *Output { return &Output{sink: sink} }

// Scratch creates a temporary file. It is closed with the output.
func (o *Output) Scratch() (Scratch, error) {
	s, err := o.sink.Scratch()
	if err != nil {
		return nil, fmt.Errorf("render: scratch file: %w", err)
	}
	o.scratches = append(o.scratches, s)
	return s, nil
}

// Create creates the object named key, even if nothing is written to it. Errors name label instead
// of the key, which may contain an identity.
func (o *Output) Create(key, contentType, label string) *Object {
	ob := &Object{out: o, key: key, contentType: contentType, label: label, hash: sha256.New()}
	o.all = append(o.all, ob)
	return ob
}

// WriteObject writes a whole object. Errors name its key, which must not contain an identity.
func (o *Output) WriteObject(key, contentType string, data []byte) error {
	ob := o.Create(key, contentType, key)
	if _, err := ob.Write(data); err != nil {
		return err
	}
	return ob.Close()
}

// flush appends the buffers of all objects to the sink and releases them.
func (o *Output) flush() error {
	for _, ob := range o.all {
		if len(ob.buf) > 0 {
			if err := ob.append(ob.buf); err != nil {
				return err
			}
		}
		ob.buf = nil
	}
	o.buffered = 0
	return nil
}

// close releases the scratch files.
func (o *Output) close() {
	for _, s := range o.scratches {
		_ = s.Close() // an error has no effect
	}
	o.scratches = nil
}

// objects returns the objects that outputs have written, sorted by key.
func objects(outputs ...*Output) []textegress.Object {
	var list []textegress.Object
	for _, o := range outputs {
		for _, ob := range o.all {
			entry := textegress.Object{
				Key: ob.key, Size: ob.size, SHA256: ob.sum, ContentType: ob.contentType,
			}
			if ob.counted {
				entry.Messages = &ob.lines
			}
			list = append(list, entry)
		}
	}
	slices.SortFunc(list, func(a, b textegress.Object) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// Object is one object that an [Output] writes.
type Object struct {
	out         *Output
	key         string
	contentType string
	label       string // used in errors instead of the key

	buf     []byte // not yet appended to the object
	made    bool   // created in the sink
	hash    hash.Hash
	size    int64
	lines   int64
	counted bool // the manifest states the number of lines

	sum string // set by Close
}

// Write implements [io.Writer].
func (ob *Object) Write(p []byte) (int, error) {
	ob.hash.Write(p)
	ob.size += int64(len(p))
	if len(ob.buf)+len(p) > maxBuffered {
		err := ob.append(ob.buf, p)
		ob.buf = ob.buf[:0]
		return len(p), err
	}
	before := cap(ob.buf)
	ob.buf = append(ob.buf, p...)
	if ob.out.buffered += cap(ob.buf) - before; ob.out.buffered > totalBuffers {
		return len(p), ob.out.flush()
	}
	return len(p), nil
}

// WriteLine writes a line that is counted in the manifest.
func (ob *Object) WriteLine(p []byte) error {
	ob.lines++
	ob.counted = true
	_, err := ob.Write(p)
	return err
}

// CountLines makes the manifest state the number of lines even if it is 0.
func (ob *Object) CountLines() { ob.counted = true }

// Close flushes the object. Nothing may be written after it.
func (ob *Object) Close() error {
	if len(ob.buf) > 0 || !ob.made {
		if err := ob.append(ob.buf); err != nil {
			return err
		}
	}
	ob.out.buffered -= cap(ob.buf)
	ob.sum, ob.buf, ob.hash = hex.EncodeToString(ob.hash.Sum(nil)), nil, nil
	return nil
}

// append opens the object, appends to it, and closes it.
func (ob *Object) append(parts ...[]byte) error {
	w, err := ob.out.sink.Append(ob.key)
	if err != nil {
		return ob.wrap(err)
	}
	ob.made = true
	for _, p := range parts {
		if len(p) > 0 && err == nil {
			_, err = w.Write(p)
		}
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return ob.wrap(err)
	}
	return nil
}

func (ob *Object) wrap(err error) error { return fmt.Errorf("render: write %s: %w", ob.label, err) }
