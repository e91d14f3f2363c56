// Package spool keeps recordings on the local disk until they are delivered.
package spool

import (
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/durable"
)

var errTodo = errors.ErrUnsupported

// Options tunes a Spool. The zero value is usable.
type Options struct {
	SyncInterval time.Duration
	SegmentSize  int64
	Logger       *slog.Logger
	FS           durable.FS
	Registerer   prometheus.Registerer
}

type Spool struct{}

func Open(dir string, o Options) (*Spool, error)              { return nil, errTodo }
func OpenReadOnly(dir string) (*Spool, error)                 { return nil, errTodo }
func (s *Spool) Close() error                                 { return nil }
func (s *Spool) Dir() string                                  { return "" }
func (s *Spool) Instance() (string, error)                    { return "", errTodo }
func (s *Spool) Create(info Info) (*Recording, error)         { return nil, errTodo }
func (s *Spool) Recordings() []*Recording                     { return nil }
func (s *Spool) Recording(egressID string) (*Recording, bool) { return nil, false }

type Recording struct{}

func (r *Recording) ID() string                       { return "" }
func (r *Recording) Info() Info                       { return Info{} }
func (r *Recording) State() State                     { return "" }
func (r *Recording) Dir() string                      { return "" }
func (r *Recording) Sealed() (Sealed, bool)           { return Sealed{}, false }
func (r *Recording) Writer() (*Writer, error)         { return nil, errTodo }
func (r *Recording) Frames() iter.Seq2[Frame, error]  { return nil }
func (r *Recording) Segments() ([]SegmentInfo, error) { return nil, errTodo }
func (r *Recording) LastFrame() (Frame, bool, error)  { return Frame{}, false, errTodo }
func (r *Recording) WriteExport([]byte) error         { return errTodo }
func (r *Recording) Export() ([]byte, bool, error)    { return nil, false, errTodo }
func (r *Recording) WriteUploaded([]byte) error       { return errTodo }
func (r *Recording) Uploaded() ([]byte, bool, error)  { return nil, false, errTodo }
func (r *Recording) StagingDir() string               { return "" }
func (r *Recording) RemoveData() error                { return errTodo }
func (r *Recording) Forget() error                    { return errTodo }

type Writer struct{}

func (w *Writer) Append(f Frame) error                     { return errTodo }
func (w *Writer) AppendEvent(unixNS int64, ev Event) error { return errTodo }
func (w *Writer) Sync() error                              { return errTodo }
func (w *Writer) Close() error                             { return errTodo }
func (w *Writer) Seal(s Sealed) error                      { return errTodo }
func (w *Writer) Recorded() uint64                         { return 0 }
func (w *Writer) Durable() uint64                          { return 0 }
