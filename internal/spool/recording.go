package spool

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"sync"

	"github.com/syncflow/textegress/internal/durable"
)

// Names in the directory of a recording.
const (
	recordingName = "recording.json"
	sealedName    = "sealed.json"
	exportName    = "export.json"
	uploadedName  = "uploaded.json"
	suspectName   = "suspect.json"
	stagingName   = "objects"
	damagedSuffix = ".damaged"
)

// Recording is one recording in the spool. Its methods are safe for concurrent
// use.
type Recording struct {
	spool    *Spool
	dir      string
	info     Info
	readOnly bool

	// stateMu is held while a state file is written, so that there is one
	// writer of each; it is taken before mu.
	stateMu sync.Mutex

	mu      sync.Mutex // guards the fields below; never held over I/O
	state   State
	sealed  Sealed
	suspect bool
	writer  *Writer
}

// ID returns the egress id.
func (r *Recording) ID() string { return r.info.EgressID }

// Info returns what recording.json holds.
func (r *Recording) Info() Info { return r.info }

// Dir returns the directory of the recording.
func (r *Recording) Dir() string { return r.dir }

// State returns how far the recording has come.
func (r *Recording) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Sealed returns what sealed.json holds; false where the recording is open.
func (r *Recording) Sealed() (Sealed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sealed
	s.Segments = slices.Clone(s.Segments)
	return s, r.state != StateOpen
}

// StagingDir returns where derived objects may be kept before they are
// delivered. It may not exist, it is not durable, and RemoveData removes it.
func (r *Recording) StagingDir() string { return filepath.Join(r.dir, stagingName) }

func (r *Recording) path(name string) string { return filepath.Join(r.dir, name) }

// load finds the state from the files.
func (r *Recording) load() error {
	entries, err := r.spool.fs.ReadDir("load", r.dir)
	if err != nil {
		return err
	}
	has := make(map[string]bool)
	for _, e := range entries {
		has[e.Name()] = true
	}
	segments := segmentNames(entries)
	r.suspect = has[suspectName]
	r.state = StateOpen
	if has[sealedName] {
		if err := r.loadSealed(has[exportName]); err != nil {
			return err
		}
	}
	if r.state != StateOpen && has[exportName] {
		r.state = StateExported
		if has[uploadedName] {
			r.state = StateUploaded
			if len(segments) == 0 && !has[stagingName] {
				r.state = StateRemoved
			}
		}
	}
	if r.readOnly || r.state == StateRemoved {
		return nil
	}
	// A process that died before it came to the fsync of the directory left
	// state files and segments that we see and that a power failure would take.
	return r.spool.fs.SyncDir("load", r.dir)
}

// loadSealed reads sealed.json. A damaged one is put aside, so that the
// recording is open and will be sealed again: its segments are what counts. Once
// an export is fixed, that would change what is delivered, so there it is an
// error.
func (r *Recording) loadSealed(exported bool) error {
	b, err := r.spool.fs.ReadFile("load", r.path(sealedName))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &r.sealed); err == nil {
		r.state = StateSealed
		return nil
	}
	r.sealed = Sealed{}
	if exported {
		return &notRecordingError{reason: sealedName + " is damaged"}
	}
	if r.readOnly {
		return nil
	}
	r.spool.log.Error("damaged state file, the recording will be sealed again", "path", r.path(sealedName))
	return r.spool.fs.Rename("load", r.path(sealedName), r.path(sealedName+damagedSuffix))
}

// Writer returns the writer of an open recording, of which there is one at a
// time. It recovers: the torn tail that a crash may have left is cut, all
// segments are made durable, and the first Append begins a new segment, with
// the next index.
func (r *Recording) Writer() (*Writer, error) {
	w, err := r.openWriter()
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return w, nil
}

func (r *Recording) openWriter() (*Writer, error) {
	if r.readOnly {
		return nil, ErrReadOnly
	}
	w := &Writer{recording: r, spool: r.spool}
	r.mu.Lock()
	switch {
	case r.state != StateOpen:
		r.mu.Unlock()
		return nil, ErrSealed
	case r.writer != nil:
		r.mu.Unlock()
		return nil, ErrBusy
	}
	r.writer = w // reserved; nobody else can see w yet but Close, which waits for syncMu
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	r.mu.Unlock()
	if r.spool.isClosed() { // looked at after w is registered, so that Close sees w or we see Close
		r.release(w)
		return nil, ErrClosed
	}
	if err := w.prepare(); err != nil {
		r.release(w)
		return nil, r.spool.metrics.count(opRead, err)
	}
	return w, nil
}

func (r *Recording) currentWriter() *Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writer
}

func (r *Recording) release(w *Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer == w {
		r.writer = nil
	}
}

// listSegments returns the names of the segments in dir, in order.
func listSegments(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir("list-segments", dir)
	if err != nil {
		return nil, err
	}
	return segmentNames(entries), nil
}

func segmentNames(entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		if _, ok := segmentNumber(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, _ := segmentNumber(a)
		y, _ := segmentNumber(b)
		return cmp.Compare(x, y)
	})
	return names
}

func (r *Recording) sources(names []string) []SegmentSource {
	var sources []SegmentSource
	for _, name := range names {
		sources = append(sources, SegmentSource{Name: name, Open: func() (io.ReadCloser, error) {
			return r.spool.fs.Open("read-segment", r.path(name))
		}})
	}
	return sources
}

// Frames streams the frames of all segments, see ReadSegments. It may run while
// the recording is being written, by this process or another, and then ends at
// the last whole frame it finds.
func (r *Recording) Frames() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		names, err := listSegments(r.spool.fs, r.dir)
		if err != nil {
			yield(Frame{}, fmt.Errorf("recording %s: %w", r.ID(), err))
			return
		}
		for f, err := range ReadSegments(r.sources(names)) {
			if err != nil {
				err = fmt.Errorf("recording %s: %w", r.ID(), err)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// LastFrame returns the last readable frame, false where there is none. Its
// payload is a copy. It reads as few segments as it can, from the last one on.
func (r *Recording) LastFrame() (Frame, bool, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return Frame{}, false, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	for _, src := range slices.Backward(r.sources(names)) {
		f, ok, err := lastFrame(src)
		if err != nil || ok {
			return f, ok, err
		}
	}
	return Frame{}, false, nil
}

func lastFrame(src SegmentSource) (last Frame, ok bool, err error) {
	err = scanSegment(src, func(it item) {
		if it.kind == itemFrame {
			payload := append(last.Payload[:0], it.frame.Payload...)
			last, ok = it.frame, true
			last.Payload = payload
		}
	})
	return last, ok, err
}

// scanSegment calls found for everything in a segment.
func scanSegment(src SegmentSource, found func(item)) error {
	r, err := src.Open()
	if err == nil {
		err = scanReader(r, found)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return fmt.Errorf("read segment %s: %w", src.Name, err)
	}
	return nil
}

func scanReader(r io.Reader, found func(item)) error {
	s, err := newScanner(r, nil)
	if err != nil {
		return err
	}
	for {
		it, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found(it)
	}
}

// Segments describes the segments: from sealed.json, or by reading all of them
// where the recording is open.
func (r *Recording) Segments() ([]SegmentInfo, error) {
	if s, ok := r.Sealed(); ok {
		return s.Segments, nil
	}
	infos, err := r.readSegments()
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return infos, nil
}

func (r *Recording) readSegments() ([]SegmentInfo, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return nil, err
	}
	infos := []SegmentInfo{}
	for _, src := range r.sources(names) {
		info, err := describeSegment(src)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func describeSegment(src SegmentSource) (SegmentInfo, error) {
	d := digest{Hash: sha256.New()}
	info := SegmentInfo{Name: src.Name}
	err := scanSegment(SegmentSource{Name: src.Name, Open: func() (io.ReadCloser, error) {
		f, err := src.Open()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.TeeReader(f, &d), f}, nil
	}}, func(it item) {
		if it.kind == itemFrame {
			info.Frames++
		}
	})
	if err != nil {
		return SegmentInfo{}, err
	}
	info.Size, info.SHA256 = d.size, hex.EncodeToString(d.Sum(nil))
	return info, nil
}

// digest hashes and counts what a scanner reads, which is the whole file.
type digest struct {
	hash.Hash
	size int64
}

func (d *digest) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return d.Hash.Write(b)
}

// stateFile writes a state file and then sets the state, if the recording is in
// one of the states from.
func (r *Recording) stateFile(name string, data []byte, to State, from ...State) error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: %w", r.ID(), ErrReadOnly)
	}
	now := r.State()
	if now != to && !slices.Contains(from, now) {
		return fmt.Errorf("recording %s: %s: %w: %s", r.ID(), name, ErrState, now)
	}
	if err := durable.WriteFileOnce(r.spool.fs, "state-"+name, r.path(name), data); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	r.setState(to)
	return nil
}

func (r *Recording) setState(to State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = to
}

// WriteExport fixes what will be delivered: export.json, whose content this
// package does not look at. It is written once; the same bytes again are a
// success, others an error that wraps fs.ErrExist. The recording must be sealed.
func (r *Recording) WriteExport(data []byte) error {
	return r.stateFile(exportName, data, StateExported, StateSealed)
}

// WriteUploaded states that everything was verified in the bucket: uploaded.json,
// written once like export.json. The recording must be exported.
func (r *Recording) WriteUploaded(data []byte) error {
	return r.stateFile(uploadedName, data, StateUploaded, StateExported)
}

// Export returns export.json, false where there is none.
func (r *Recording) Export() ([]byte, bool, error) { return r.readState(exportName) }

// Uploaded returns uploaded.json, false where there is none.
func (r *Recording) Uploaded() ([]byte, bool, error) { return r.readState(uploadedName) }

func (r *Recording) readState(name string) ([]byte, bool, error) {
	b, err := r.spool.fs.ReadFile("read-state", r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return b, true, nil
}

// RemoveData removes the segments and the staging directory of an uploaded
// recording. The state files stay, so that a repeated announcement of the
// session is recognised. After a failure it can be called again.
func (r *Recording) RemoveData() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if err := r.removeData(); err != nil {
		return fmt.Errorf("recording %s: remove data: %w", r.ID(), r.spool.metrics.count(opRemove, err))
	}
	return nil
}

func (r *Recording) removeData() error {
	if r.readOnly {
		return ErrReadOnly
	}
	switch state := r.State(); state {
	case StateRemoved:
		return nil
	case StateUploaded:
	default:
		return fmt.Errorf("%w: %s", ErrState, state)
	}
	fsys := r.spool.fs
	if err := fsys.RemoveAll("remove-data", r.StagingDir()); err != nil {
		return err
	}
	names, err := listSegments(fsys, r.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fsys.Remove("remove-data", r.path(name)); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir("remove-data", r.dir); err != nil {
		return err
	}
	r.setState(StateRemoved)
	return nil
}

// Forget removes what RemoveData left, and with it every trace of the recording.
func (r *Recording) Forget() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: forget: %w", r.ID(), ErrReadOnly)
	}
	if state := r.State(); state != StateRemoved {
		return fmt.Errorf("recording %s: forget: %w: %s", r.ID(), ErrState, state)
	}
	if err := r.spool.discard(r.dir); err != nil {
		return fmt.Errorf("recording %s: forget: %w", r.ID(), r.spool.metrics.count(opRemove, err))
	}
	r.spool.mu.Lock()
	delete(r.spool.recordings, r.ID())
	r.spool.mu.Unlock()
	return nil
}

// encodeState encodes a state file: indented JSON, no HTML escaping.
func encodeState(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
