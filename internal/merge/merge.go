// Package merge combines two recordings of the same session, made by two deployments at the same
// time, into one. Each recording fills the gaps of the other.
//
// A merge is a pure function of the two recordings: the same two recordings yield the same bytes in
// either order. It streams, and holds in memory a window of at most 4096 frames or 32 MiB over each
// recording, plus the state of every participant.
//
// Packets with sequence numbers and packets of streams are de-duplicated exactly. Other packets can
// be identified only by their content: they are de-duplicated where they are certainly the same
// packet, and otherwise kept and marked. A merge never loses anything that either recording
// contains.
package merge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// InputError reports that two recordings cannot be merged. Retrying does not help.
type InputError struct{ text string }

func (e *InputError) Error() string { return e.text }

func refuse(format string, args ...any) error { return &InputError{fmt.Sprintf(format, args...)} }

// stagingName is the directory of the merged segments until they are exported.
const stagingName = ".segments"

// options of a merge. Only tests change the first two.
type options struct {
	limit       int   // frames of look-ahead
	segmentSize int64 // of the merged segments
	keepFree    int64
}

// Merge merges two sealed recordings. It creates the directory dir and writes the objects of the
// result there, in the form of a delivery. It returns the manifest. If the recordings do not belong
// together, the error is an *InputError. Merge leaves keepFree bytes of the file system free.
func Merge(ctx context.Context, a, b render.Source, dir string,
	keepFree int64,
) (textegress.Manifest, error) {
	return merge(ctx, a, b, dir, options{
		limit: maxItems, segmentSize: spool.DefaultSegmentSize,
		keepFree: keepFree,
	})
}

func merge(ctx context.Context, a, b render.Source, dir string, o options) (m textegress.Manifest,
	err error,
) {
	if err := check(a, b); err != nil {
		return m, err
	}
	if order(a.Info(), b.Info()) > 0 {
		a, b = b, a
	}
	sink, err := render.NewDirectory(dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	guard := render.NewSpaceGuard(render.FreeSpace(dir, o.keepFree))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, fmt.Errorf("merge: %w", err)
	}
	defer func() { err = errors.Join(err, root.RemoveAll(stagingName), root.Close()) }()
	if err := root.Mkdir(stagingName, 0o700); err != nil {
		return m, fmt.Errorf("merge: %w", err)
	}
	merged, err := segments(ctx, root, guard, [2]render.Source{a, b}, o)
	if err != nil {
		return m, fmt.Errorf("merge: %w", err)
	}
	return render.Build(ctx, merged, render.Options{}, guard.Sink(sink))
}

// order makes the result independent of the order in which the recordings are named.
func order(a, b spool.Info) int {
	return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.EgressID, b.EgressID))
}

// check returns an error if the recordings do not belong together.
func check(a, b render.Source) error {
	x, y := a.Info(), b.Info()
	for _, s := range []render.Source{a, b} {
		if _, ok := s.Sealed(); !ok {
			return refuse("recording %s is not sealed: it is still being recorded, or was "+
				"exported before it ended", s.Info().EgressID)
		}
	}
	if x.Pseudonyms || y.Pseudonyms {
		return refuse("recordings %s and %s cannot be merged: at least one may leave the "+
			"recorder only under pseudonyms", x.EgressID, y.EgressID)
	}
	ids := map[string]bool{}
	for _, id := range append(made(x), made(y)...) {
		if ids[id] {
			return refuse("recording %s is part of both: name recordings of two different "+
				"deployments",
				id)
		}
		ids[id] = true
	}
	switch {
	case x.SessionID != y.SessionID || x.ProjectID != y.ProjectID:
		return refuse("recordings %s and %s are of different sessions: %s of project %s, and %s "+
			"of project %s",
			x.EgressID, y.EgressID, x.SessionID, x.ProjectID, y.SessionID, y.ProjectID)
	case x.Topic != y.Topic:
		return refuse("recordings %s and %s are limited to different topics", x.EgressID,
			y.EgressID)
	case len(x.Merged) == 0 && len(y.Merged) == 0 && x.Instance == y.Instance:
		return refuse("recordings %s and %s were both made by instance %q: they are successive "+
			"parts, not simultaneous recordings; deployments that record the same sessions need "+
			"different values of INSTANCE", x.EgressID, y.EgressID,
			x.Instance)
	}
	return nil
}

// made returns the egress ids of a recording and of its inputs, if it was merged.
func made(info spool.Info) []string {
	ids := []string{info.EgressID}
	var add func([]textegress.MergedRecording)
	add = func(list []textegress.MergedRecording) {
		for _, m := range list {
			ids = append(ids, m.EgressID)
			add(m.Merged)
		}
	}
	add(info.Merged)
	return ids
}

// frames streams a recording and hashes the bytes that it reads. The result depends on these bytes
// only.
func frames(ctx context.Context, s render.Source, read hash.Hash) iter.Seq2[segment.Frame, error] {
	return func(yield func(segment.Frame, error) bool) {
		sources, err := s.Segments(ctx)
		if err != nil {
			yield(segment.Frame{}, err)
			return
		}
		for i, seg := range sources {
			if seg.Open == nil || read == nil {
				continue
			}
			sources[i].Open = func() (io.ReadCloser, error) {
				r, err := seg.Open()
				if err != nil {
					return nil, err
				}
				return struct {
					io.Reader
					io.Closer
				}{io.TeeReader(r, read), r}, nil
			}
		}
		for f, err := range segment.Read(sources) {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(segment.Frame{}, fmt.Errorf("recording %s: %w", s.Info().EgressID, err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

// segments writes the merged segments to the staging directory and returns the merged recording.
func segments(ctx context.Context, root *os.Root, guard *render.SpaceGuard,
	sources [2]render.Source,
	o options,
) (render.Source, error) {
	// The first pass compares the clocks. It also derives the name of the result and the seed of
	// its segments from all bytes read.
	sum := sha256.New()
	offset, known, err := clocks(frames(ctx, sources[0], sum), frames(ctx, sources[1], sum))
	if err != nil {
		return nil, err
	}
	var names [2]textegress.MergedRecording
	for i, s := range sources {
		names[i] = describe(s)
		if b, err := s.StateFile("recording.json"); err == nil {
			sum.Write(b)
		}
	}
	names[0].ClockOffsetNS, names[1].ClockOffsetNS = new(int64), &offset
	if !known {
		names[0].ClockOffsetNS, names[1].ClockOffsetNS = nil, nil
	}
	seed := sum.Sum(nil)

	out := &writer{root: root, room: guard.Take, seed: seed, segmentSize: o.segmentSize}
	left, right := newInput(frames(ctx, sources[0], nil), o.limit),
		newInput(frames(ctx, sources[1], nil), o.limit)
	defer left.stop()
	defer right.stop()
	al := newAligner(left, right, offset)
	rec := newRecord(al, names, out.append)
	for {
		it, i, err := al.next()
		if err != nil {
			return nil, err
		}
		if it == nil {
			break
		}
		if err := rec.add(i, it); err != nil {
			return nil, err
		}
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	for i, s := range al.inputs {
		n := &rec.names[i]
		n.Packets, n.Only, n.PossibleDuplicates, n.Outages = s.packets, s.only, s.marked, s.outages
	}
	return newMerged(root, sources, rec.names, seed, out.infos)
}

func describe(s render.Source) textegress.MergedRecording {
	info := s.Info()
	sealed, _ := s.Sealed()
	return textegress.MergedRecording{
		EgressID: info.EgressID, Instance: info.Instance, Part: info.Part, Status: sealed.Status,
		Reason:        sealed.Reason,
		StartedUnixNS: info.CreatedUnixNS, EndedUnixNS: sealed.EndedUnixNS, Epochs: []int{},
		Merged: info.Merged,
	}
}

// writer writes the merged segments.
type writer struct {
	root        *os.Root
	room        func(n int) error // returns an error if n bytes do not fit
	seed        []byte
	segmentSize int64
	file        *os.File
	buf         bytes.Buffer
	sum         hash.Hash
	seg         *segment.Writer
	index       uint64
	infos       []segment.Info
}

func (w *writer) append(f segment.Frame) error {
	w.index++
	f.Index = w.index
	if w.seg != nil && w.seg.Size()+int64(len(f.Payload)) > w.segmentSize {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if w.seg == nil {
		if err := w.begin(f); err != nil {
			return err
		}
	}
	if err := w.seg.Append(f); err != nil {
		return err
	}
	if w.buf.Len() > 1<<16 {
		return w.flush()
	}
	return nil
}

func (w *writer) begin(f segment.Frame) (err error) {
	number := uint32(len(w.infos) + 1)
	name := segment.Name(number)
	if w.file, err = w.root.OpenFile(stagingName+"/"+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL,
		0o600); err != nil {
		return err
	}
	w.sum = sha256.New()
	w.infos = append(w.infos, segment.Info{Name: name})
	w.seg, err = segment.NewWriter(&w.buf,
		segment.DerivedHeader(w.seed, number, f.Index, f.UnixNS))
	return err
}

func (w *writer) flush() error {
	if err := w.room(w.buf.Len()); err != nil {
		return err
	}
	w.sum.Write(w.buf.Bytes())
	_, err := w.buf.WriteTo(w.file)
	return err
}

func (w *writer) finish() error {
	if w.seg == nil {
		return nil
	}
	if err := errors.Join(w.flush(), w.file.Close()); err != nil {
		return err
	}
	info := &w.infos[len(w.infos)-1]
	info.Size, info.Frames, info.SHA256 = w.seg.Size(), w.seg.Frames(),
		hex.EncodeToString(w.sum.Sum(nil))
	w.seg = nil
	return nil
}

// merged is the merged recording as a [render.Source].
type merged struct {
	root   *os.Root
	info   spool.Info
	sealed spool.Sealed
	state  map[string][]byte
}

func newMerged(root *os.Root, sources [2]render.Source, names [2]textegress.MergedRecording,
	seed []byte, infos []segment.Info,
) (*merged, error) {
	a, b := sources[0].Info(), sources[1].Info()
	m := &merged{root: root, info: a, state: map[string][]byte{}}
	i := &m.info
	i.FormatVersion, i.EgressID, i.Instance, i.Source = spool.FormatVersion, egressID(seed), "",
		"merge"
	i.KeyPrefix = a.PrefixOf(i.EgressID)
	i.Part = min(a.Part, b.Part)
	if a.Part != b.Part && b.Part == i.Part {
		i.Previous, i.PreviousEndedUnixNS = b.Previous, b.PreviousEndedUnixNS
	}
	i.AnnouncedUnixNS, i.CreatedUnixNS = earliest(a.AnnouncedUnixNS, b.AnnouncedUnixNS),
		earliest(a.CreatedUnixNS, b.CreatedUnixNS)
	i.Merged = slices.Clone(names[:])
	x, _ := sources[0].Sealed()
	y, _ := sources[1].Sealed()
	m.sealed = mergedEnd(x, y)
	m.sealed.Segments = infos
	for name, v := range map[string]any{"recording.json": m.info, "sealed.json": m.sealed} {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		m.state[name] = buf.Bytes()
	}
	return m, nil
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// egressID derives the egress id of a merged recording from its inputs.
func egressID(seed []byte) string { return "DE_" + hex.EncodeToString(seed[:6]) }

func (m *merged) Info() spool.Info             { return m.info }
func (m *merged) Sealed() (spool.Sealed, bool) { return m.sealed, true }

func (m *merged) Segments(ctx context.Context) ([]segment.Source, error) {
	var out []segment.Source
	for _, s := range m.sealed.Segments {
		out = append(out, segment.Source{
			Name: s.Name,
			Open: func() (io.ReadCloser, error) { return m.root.Open(stagingName + "/" + s.Name) },
		})
	}
	return segment.WithContext(ctx, out), nil
}

func (m *merged) StateFile(name string) ([]byte, error) {
	if b, ok := m.state[name]; ok {
		return b, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
