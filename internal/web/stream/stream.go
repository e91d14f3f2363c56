// Package stream sends server-sent events. It bounds how many streams are open, and how long a
// client that does not read can hold one.
package stream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/web/problem"
)

// writeTimeout is the time that a client has to take one event.
const writeTimeout = 15 * time.Second

// Bound limits the open streams of a server.
type Bound struct {
	slots chan struct{}
	ctx   context.Context // ends with the server
	close context.CancelFunc
}

// NewBound returns a bound for at most n streams.
func NewBound(n int) *Bound {
	b := &Bound{slots: make(chan struct{}, n)}
	b.ctx, b.close = context.WithCancel(context.Background())
	return b
}

// Close ends the open streams: the context of each is cancelled.
func (b *Bound) Close() { b.close() }

type boundKey struct{}

// Wrap makes [Open] respect the bound in next.
func (b *Bound) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), boundKey{}, b)))
	})
}

// Stream is an open stream of server-sent events. Its methods may be used by one goroutine.
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	ctx     context.Context
	release func()
	buf     bytes.Buffer
}

// Open begins a stream as the answer to r. If too many are open it answers with a problem and
// returns false. The caller must call [Stream.Close].
func Open(w http.ResponseWriter, r *http.Request) (*Stream, bool) {
	s := &Stream{w: w, rc: http.NewResponseController(w), ctx: r.Context(), release: func() {}}
	if b, ok := r.Context().Value(boundKey{}).(*Bound); ok {
		select {
		case b.slots <- struct{}{}:
		default:
			w.Header().Set("Retry-After", "30")
			problem.JSON(w, http.StatusServiceUnavailable, "Too many open streams",
				"Close other pages of this service, or ask for single answers.")
			return nil, false
		}
		ctx, cancel := context.WithCancel(r.Context())
		unlink := context.AfterFunc(b.ctx, cancel)
		s.ctx = ctx
		s.release = sync.OnceFunc(func() { unlink(); cancel(); <-b.slots })
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	return s, true
}

// Context ends when the client is gone, its login has ended or the server stops.
func (s *Stream) Context() context.Context { return s.ctx }

// Close frees the place of the stream.
func (s *Stream) Close() { s.release() }

// Event sends an event. An empty id or name is left out. Data may have several lines.
func (s *Stream) Event(id, name, data string) error {
	s.buf.Reset()
	s.field("id", id)
	s.field("event", name)
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(data,
		"\r\n", "\n"), "\r", "\n"), "\n") {
		s.buf.WriteString("data: " + line + "\n")
	}
	s.buf.WriteByte('\n')
	return s.flush()
}

// Comment sends a comment, which keeps proxies from closing a silent connection.
func (s *Stream) Comment() error {
	s.buf.Reset()
	s.buf.WriteString(":\n\n")
	return s.flush()
}

// Retry tells the client to wait this long before it connects again.
func (s *Stream) Retry(d time.Duration) error {
	s.buf.Reset()
	s.field("retry", strconv.FormatInt(d.Milliseconds(), 10))
	s.buf.WriteByte('\n')
	return s.flush()
}

func (s *Stream) field(name, value string) {
	if value != "" {
		s.buf.WriteString(name + ": " + oneLine.Replace(value) + "\n")
	}
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func (s *Stream) flush() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	// Instead of the limit of the server, which is for short answers. Recorders of tests have none.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	return s.rc.Flush()
}

// Long returns a writer for an answer of any length, such as a file: each write has the time of an
// event, instead of the whole answer having that of the server.
func Long(w http.ResponseWriter) io.Writer {
	return longWriter{w, http.NewResponseController(w)}
}

type longWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// Write implements [io.Writer].
func (l longWriter) Write(b []byte) (int, error) {
	_ = l.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	return l.w.Write(b)
}
