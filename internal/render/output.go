package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
)

const (
	maxOpen    = 64      // objects open at the sink at the same time
	bufferSize = 8 << 10 // per open object
	largeSize  = 256 << 10
)

// output writes objects to a sink and knows size and checksum of each. Of the objects it holds
// open, the one used least recently is closed when another is needed, and opened again to append.
type output struct {
	sink  Sink
	all   []*object
	open  object   // the ring of those that are open, in both directions: next is the one used last
	count int      // how many they are
	bytes [][]byte // free buffers
}

func newOutput(sink Sink) *output {
	o := &output{sink: sink}
	o.open.next, o.open.prev = &o.open, &o.open
	return o
}

type object struct {
	out         *output
	key         string
	contentType string
	label       string // what an error says instead of the key

	w     io.WriteCloser // nil: not open
	buf   []byte         // not yet written to w; nil if not open
	large bool           // buf is of largeSize
	next  *object        // in the ring of open ones
	prev  *object
	hash  hash.Hash
	size  int64
	lines int64
	count bool // lines are counted in the manifest

	sum string // at the end
}

func (o *output) create(key, contentType, label string) (*object, error) {
	return o.add(&object{key: key, contentType: contentType, label: label})
}

// createLarge is create for the few objects into which most of the bytes go.
func (o *output) createLarge(key, contentType, label string) (*object, error) {
	return o.add(&object{key: key, contentType: contentType, label: label, large: true})
}

func (o *output) add(ob *object) (*object, error) {
	ob.out, ob.hash = o, sha256.New()
	o.all = append(o.all, ob)
	return ob, ob.ensureOpen() // an empty object is one, too
}

// whole writes an object of which all bytes are at hand.
func (o *output) whole(key, contentType string, data []byte) error {
	ob, err := o.create(key, contentType, key)
	if err != nil {
		return err
	}
	if _, err := ob.Write(data); err != nil {
		return err
	}
	return ob.finish()
}

// objects returns what was finished, sorted by key.
func objects(outputs ...*output) []textegress.Object {
	var all []*object
	for _, o := range outputs {
		all = append(all, o.all...)
	}
	var list []textegress.Object
	for _, ob := range all {
		entry := textegress.Object{
			Key: ob.key, Size: ob.size, SHA256: ob.sum,
			ContentType: ob.contentType,
		}
		if ob.count {
			entry.Messages = &ob.lines
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b textegress.Object) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// abandon closes what an error left open.
func (o *output) abandon() {
	for ob := o.open.next; ob != &o.open; ob = ob.next {
		ob.w.Close() //nolint:errcheck // there is an error already
	}
	o.open.next, o.open.prev, o.count = &o.open, &o.open, 0
}

func (ob *object) wrap(err error) error { return fmt.Errorf("export: write %s: %w", ob.label, err) }

// ensureOpen also marks ob as used last.
func (ob *object) ensureOpen() error {
	o := ob.out
	if ob.w != nil {
		if o.open.next != ob {
			ob.unlink()
			ob.link()
		}
		return nil
	}
	if o.count >= maxOpen {
		if err := o.open.prev.close(); err != nil {
			return err
		}
	}
	w, err := o.sink.Append(ob.key)
	if err != nil {
		return ob.wrap(err)
	}
	ob.w = w
	switch n := len(o.bytes); {
	case ob.large:
		ob.buf = make([]byte, 0, largeSize)
	case n > 0:
		ob.buf, o.bytes = o.bytes[n-1], o.bytes[:n-1]
	default:
		ob.buf = make([]byte, 0, bufferSize)
	}
	ob.link()
	o.count++
	return nil
}

func (ob *object) link() {
	first := &ob.out.open
	ob.prev, ob.next = first, first.next
	ob.prev.next, ob.next.prev = ob, ob
}

func (ob *object) unlink() { ob.prev.next, ob.next.prev = ob.next, ob.prev }

func (ob *object) close() error {
	o := ob.out
	err := ob.flush()
	if cerr := ob.w.Close(); err == nil && cerr != nil {
		err = ob.wrap(cerr)
	}
	ob.unlink()
	o.count--
	if !ob.large {
		o.bytes = append(o.bytes, ob.buf[:0])
	}
	ob.w, ob.buf = nil, nil
	return err
}

func (ob *object) flush() error {
	if len(ob.buf) == 0 {
		return nil
	}
	_, err := ob.w.Write(ob.buf)
	ob.buf = ob.buf[:0]
	if err != nil {
		return ob.wrap(err)
	}
	return nil
}

// Write implements [io.Writer].
func (ob *object) Write(p []byte) (int, error) {
	if err := ob.ensureOpen(); err != nil {
		return 0, err
	}
	ob.hash.Write(p)
	ob.size += int64(len(p))
	if len(ob.buf)+len(p) > cap(ob.buf) {
		if err := ob.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(ob.buf) {
		if _, err := ob.w.Write(p); err != nil {
			return 0, ob.wrap(err)
		}
		return len(p), nil
	}
	ob.buf = append(ob.buf, p...)
	return len(p), nil
}

func (ob *object) writeLine(p []byte) error {
	ob.lines++
	ob.count = true
	_, err := ob.Write(p)
	return err
}

func (ob *object) finish() error {
	if ob.w != nil {
		if err := ob.close(); err != nil {
			return err
		}
	}
	ob.sum, ob.hash = hex.EncodeToString(ob.hash.Sum(nil)), nil
	return nil
}
