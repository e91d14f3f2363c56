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

// Output writes objects to a sink, and knows size and checksum of each. It holds no object open:
// what is written is collected in memory and appended in large pieces, so that thousands of views
// can be written at the same time.
type Output struct {
	sink      Sink
	all       []*Object
	buffered  int       // capacity of the buffers of all objects
	scratches []Scratch // files to be closed
}

func newOutput(sink Sink) *Output { return &Output{sink: sink} }

// Scratch makes a file that is no object. It is closed with the output.
func (o *Output) Scratch() (Scratch, error) {
	s, err := o.sink.Scratch()
	if err != nil {
		return nil, fmt.Errorf("export: scratch file: %w", err)
	}
	o.scratches = append(o.scratches, s)
	return s, nil
}

// Create begins the object named key, which is made also where nothing is written to it. Errors
// name label instead of the key, in which there may be an identity.
func (o *Output) Create(key, contentType, label string) *Object {
	ob := &Object{out: o, key: key, contentType: contentType, label: label, hash: sha256.New()}
	o.all = append(o.all, ob)
	return ob
}

// WriteObject writes an object as a whole. Its key is not secret.
func (o *Output) WriteObject(key, contentType string, data []byte) error {
	ob := o.Create(key, contentType, key)
	if _, err := ob.Write(data); err != nil {
		return err
	}
	return ob.Close()
}

// flush appends to the sink what is in the buffers of all objects, and releases them.
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
		_ = s.Close() // of no consequence
	}
	o.scratches = nil
}

// objects returns what outputs have written, sorted by key.
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
	label       string // what an error says instead of the key

	buf     []byte // not yet appended to the object
	made    bool   // the sink has it
	hash    hash.Hash
	size    int64
	lines   int64
	counted bool // lines are counted in the manifest

	sum string // once it is closed
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

// CountLines makes the manifest say how many lines there are, also where there are none.
func (ob *Object) CountLines() { ob.counted = true }

// Close writes what is left. Nothing may be written after it.
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

func (ob *Object) wrap(err error) error { return fmt.Errorf("export: write %s: %w", ob.label, err) }
