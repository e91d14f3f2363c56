// Package tail prints the lines of a recording, also of one that is being recorded.
package tail

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/segment"
)

// pollEvery is how often a recording that another process writes is looked at.
const pollEvery = 100 * time.Millisecond

// pendingAfter is how long a stream has been open before [Run] mentions it.
const pendingAfter = 2 * time.Second

// Source is a recording. [follow.Decoder] is one, [Delivered] another.
type Source interface {
	// Next returns further lines, possibly none. It returns [segment.ErrNotYet] if there are none
	// yet, and io.EOF after the last one.
	Next() ([]follow.Line, error)
	// Pending returns the streams that have begun and not ended.
	Pending() []decode.OpenStream
}

// Filter selects lines. Empty lists match everything.
type Filter struct {
	Topics, Identities []pattern.Pattern
	Since              time.Time
}

func (f Filter) match(topic, identity string, unixNS int64) bool {
	return matches(f.Topics, topic) && matches(f.Identities, identity) &&
		(f.Since.IsZero() || unixNS >= f.Since.UnixNano())
}

func matches(list []pattern.Pattern, name string) bool {
	for _, p := range list {
		if p.Match(name) {
			return true
		}
	}
	return len(list) == 0
}

// Options of [Run].
type Options struct {
	Filter

	Last   int  // print only the last lines of those that exist at the start; below 0: all
	Follow bool // wait for further lines
	JSON   bool // print the lines of events.jsonl
	Format Format
}

// Run prints the lines of a recording, and with Follow those that are added, until the recording or
// ctx ends.
func Run(ctx context.Context, w io.Writer, src Source, o Options) error {
	p := &printer{o: o, w: bufio.NewWriter(w), shown: map[string]bool{}}
	if o.Last >= 0 {
		p.held = []follow.Line{}
	}
	for {
		lines, err := src.Next()
		if ctx.Err() != nil {
			return ended(ctx, o)
		}
		for i := range lines {
			if perr := p.line(&lines[i]); perr != nil {
				return perr
			}
		}
		if err == nil {
			continue
		}
		if perr := p.release(); perr != nil {
			return perr
		}
		waiting := errors.Is(err, segment.ErrNotYet)
		if waiting && !o.JSON {
			p.pending(src.Pending(), time.Now())
		}
		if ferr := p.w.Flush(); ferr != nil {
			return fmt.Errorf("write: %w", ferr)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case !waiting:
			return err
		case !o.Follow:
			return nil
		}
		timer := time.NewTimer(pollEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx, o)
		case <-timer.C:
		}
	}
}

// ended returns the cause of ctx, except for a command that ends in no other way.
func ended(ctx context.Context, o Options) error {
	if o.Follow {
		return nil
	}
	return context.Cause(ctx)
}

type printer struct {
	o     Options
	w     *bufio.Writer
	held  []follow.Line   // the last lines so far; nil: print at once
	shown map[string]bool // pending streams, by sender and id
}

func (p *printer) line(l *follow.Line) error {
	if !p.o.match(l.Topic, l.Identity, l.UnixNS) {
		return nil
	}
	if p.held == nil {
		return p.print(l)
	}
	p.held = append(p.held, *l)
	if len(p.held) > 2*p.o.Last+64 {
		p.held = p.held[:copy(p.held, p.held[len(p.held)-p.o.Last:])]
	}
	return nil
}

// release prints the held lines.
func (p *printer) release() error {
	held := p.held
	p.held = nil
	for i := max(len(held)-p.o.Last, 0); i < len(held); i++ {
		if err := p.print(&held[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) print(l *follow.Line) error {
	if p.o.JSON {
		_, err := fmt.Fprintf(p.w, "%s\n", l.JSON)
		return err
	}
	m, err := l.Message()
	if err != nil {
		return fmt.Errorf("line %d: %w", l.N, err)
	}
	_, err = p.w.WriteString(p.o.Format.Message(m))
	return err
}

// pending mentions each stream once that has been open for a while.
func (p *printer) pending(open []decode.OpenStream, now time.Time) {
	for _, s := range open {
		key := s.Identity + "\x00" + s.ID
		if p.shown[key] || !p.o.match(s.Topic, s.Identity, s.StartedUnixNS) ||
			p.o.Follow && now.UnixNano()-s.StartedUnixNS < int64(pendingAfter) {
			continue
		}
		p.shown[key] = true
		p.w.WriteString(p.o.Format.Pending(s)) //nolint:errcheck // Flush returns the error
	}
}

// Delivered reads a delivered events.jsonl.
type Delivered struct {
	r *bufio.Reader
	n int64
}

// NewDelivered returns a source that reads the lines of r.
func NewDelivered(r io.Reader) *Delivered {
	return &Delivered{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next implements [Source].
func (d *Delivered) Next() ([]follow.Line, error) {
	var line []byte
	for {
		part, err := d.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil || errors.Is(err, io.EOF) && len(line) > 0 {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) > textegress.MaxLine {
			return nil, fmt.Errorf("line %d of %s is too long", d.n+1, textegress.EventsName)
		}
	}
	d.n++
	l := follow.Line{N: d.n, JSON: bytes.TrimSuffix(line, []byte("\n"))}
	var head struct {
		Kind     segment.Kind `json:"kind"`
		Topic    string       `json:"topic"`
		Identity string       `json:"identity"`
		UnixNS   int64        `json:"unix_ns"`
	}
	if json.Unmarshal(l.JSON, &head) != nil {
		return nil, fmt.Errorf("line %d of %s is not JSON", d.n, textegress.EventsName)
	}
	l.Kind, l.Topic, l.Identity, l.UnixNS = head.Kind, head.Topic, head.Identity, head.UnixNS
	return []follow.Line{l}, nil
}

// Pending implements [Source]: a delivered recording is complete.
func (*Delivered) Pending() []decode.OpenStream { return nil }
