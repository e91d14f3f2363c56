package objtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/syncflow/textegress/internal/objstore"
)

// Fault describes the misbehaviour of one call.
type Fault struct {
	// Err is the error of the call. For open with MidBody, the reader returns it after half of the
	// content. A nil Err with Damage is a success that stores different bytes.
	Err error
	// Applied means that the call takes effect but its response is lost.
	Applied bool
	// MidBody means that Err occurs in the middle: after half of the content of an upload was read,
	// or half of the content of an open was delivered.
	MidBody bool
	// Damage, if not nil, changes the bytes that an applied upload stores or an open delivers.
	Damage func([]byte) []byte
	// Wait, if not nil, runs first. It may block until ctx ends. The call returns its error.
	Wait func(ctx context.Context) error
}

// Memory is an [objstore.Bucket] in memory. Faults can make it fail before or after a call takes
// effect, store different bytes or break a body in the middle. The zero value is not usable, see
// [NewMemory].
type Memory struct {
	name string
	// checksums reports whether the store computes SHA-256, as S3 does.
	checksums bool

	// guards the fields below; held only for bookkeeping, never while content is read
	mu         sync.Mutex
	objects    map[string]object
	fault      func(op, key string) *Fault
	calls      []string
	overwrites []string
}

type object struct {
	data        []byte
	contentType string
}

var _ objstore.Bucket = (*Memory)(nil)

// NewMemory returns an empty bucket. checksums determines whether Stat sets SHA256.
func NewMemory(name string, checksums bool) *Memory {
	return &Memory{name: name, checksums: checksums, objects: map[string]object{}}
}

// SetFault sets the function that returns the fault of every later call, or nil for no fault. f
// runs on the goroutine of the call, with op "upload", "stat", "open", "list" or "delete". A nil f
// ends all faults.
func (b *Memory) SetFault(f func(op, key string) *Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

// Calls returns "<op> <key>" of every call so far.
func (b *Memory) Calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// ResetCalls clears the list of calls.
func (b *Memory) ResetCalls() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = nil
}

// Overwrites returns the keys for which an upload changed the stored bytes.
func (b *Memory) Overwrites() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.overwrites)
}

// Objects returns the content of every object by key.
func (b *Memory) Objects() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := map[string][]byte{}
	for k, o := range b.objects {
		m[k] = o.data
	}
	return m
}

// ContentType returns the stored content type of key.
func (b *Memory) ContentType(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.objects[key].contentType
}

// Put stores data. It does not count as a call and has no faults.
func (b *Memory) Put(key string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = object{data: bytes.Clone(data)}
}

// String implements [objstore.Bucket].
func (b *Memory) String() string { return "memory " + b.name }

// begin records the call and returns its fault, never nil.
func (b *Memory) begin(ctx context.Context, op, key string) (*Fault, error) {
	if op != "list" {
		if err := objstore.CheckKey(key); err != nil {
			return nil, objstore.BadKey(op, b.String(), key, err)
		}
	}
	b.mu.Lock()
	b.calls = append(b.calls, op+" "+key)
	decide := b.fault
	b.mu.Unlock()
	var f *Fault
	if decide != nil {
		f = decide(op, key)
	}
	if f == nil {
		f = &Fault{Applied: true}
	}
	if f.Wait != nil {
		if err := f.Wait(ctx); err != nil {
			return f, b.fail(op, key, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return f, b.fail(op, key, err)
	}
	return f, nil
}

func (b *Memory) fail(op, key string, err error) error {
	if e, ok := err.(*objstore.Error); ok { //nolint:errorlint // only as the test gave it
		c := *e
		c.Op, c.Key, c.Bucket = op, key, b.String()
		return &c
	}
	return &objstore.Error{Op: op, Bucket: b.String(), Key: key, Cause: err.Error(), Err: err}
}

// Upload implements [objstore.Bucket].
func (b *Memory) Upload(ctx context.Context, key string, o objstore.Object) error {
	f, err := b.begin(ctx, "upload", key)
	if err != nil {
		return err
	}
	r, err := o.Open()
	if err != nil {
		return b.fail("upload", key, err)
	}
	defer r.Close() //nolint:errcheck // reading only
	if f.MidBody {
		io.CopyN(io.Discard, r, o.Size/2) //nolint:errcheck // the connection breaks anyhow
		return b.fail("upload", key, f.Err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return b.fail("upload", key, err)
	}
	sum := sha256.Sum256(data)
	if int64(len(data)) != o.Size || o.SHA256 != "" && hex.EncodeToString(sum[:]) != o.SHA256 {
		return b.fail("upload", key,
			fmt.Errorf("the content does not have the announced size and SHA-256"))
	}
	if f.Damage != nil {
		data = f.Damage(bytes.Clone(data))
	}
	if f.Applied || f.Damage != nil {
		b.mu.Lock()
		if old, ok := b.objects[key]; ok && !bytes.Equal(old.data, data) {
			b.overwrites = append(b.overwrites, key)
		}
		b.objects[key] = object{data, o.ContentType}
		b.mu.Unlock()
	}
	if f.Err != nil {
		return b.fail("upload", key, f.Err)
	}
	return nil
}

func (b *Memory) get(op, key string) (object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	if !ok {
		return o, &objstore.Error{
			Op: op, Bucket: b.String(), Key: key, Cause: "no such object",
			NotFound: true, Permanent: true,
		}
	}
	return o, nil
}

// Stat implements [objstore.Bucket].
func (b *Memory) Stat(ctx context.Context, key string) (objstore.Attrs, error) {
	f, err := b.begin(ctx, "stat", key)
	if err != nil {
		return objstore.Attrs{}, err
	}
	if f.Err != nil {
		return objstore.Attrs{}, b.fail("stat", key, f.Err)
	}
	o, err := b.get("stat", key)
	if err != nil {
		return objstore.Attrs{}, err
	}
	a := objstore.Attrs{Key: key, Size: int64(len(o.data))}
	if b.checksums {
		sum := sha256.Sum256(o.data)
		a.SHA256 = hex.EncodeToString(sum[:])
	}
	return a, nil
}

// Open implements [objstore.Bucket].
func (b *Memory) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	f, err := b.begin(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	if f.Err != nil && !f.MidBody {
		return nil, b.fail("open", key, f.Err)
	}
	o, err := b.get("open", key)
	if err != nil {
		return nil, err
	}
	data := o.data
	if f.Damage != nil {
		data = f.Damage(bytes.Clone(data))
	}
	if f.MidBody {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]),
			errReader{b.fail("read", key, f.Err)})), nil
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// List implements [objstore.Bucket].
func (b *Memory) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		f, err := b.begin(ctx, "list", prefix)
		if err == nil && f.Err != nil {
			err = b.fail("list", prefix, f.Err)
		}
		if err != nil {
			yield(objstore.Attrs{}, err)
			return
		}
		objects := b.Objects()
		for _, k := range slices.Sorted(maps.Keys(objects)) {
			if strings.HasPrefix(k, prefix) &&
				!yield(objstore.Attrs{Key: k, Size: int64(len(objects[k]))}, nil) {
				return
			}
		}
	}
}

// Delete implements [objstore.Bucket].
func (b *Memory) Delete(ctx context.Context, key string) error {
	f, err := b.begin(ctx, "delete", key)
	if err != nil {
		return err
	}
	if f.Applied {
		b.mu.Lock()
		delete(b.objects, key)
		b.mu.Unlock()
	}
	if f.Err != nil {
		return b.fail("delete", key, f.Err)
	}
	return nil
}
