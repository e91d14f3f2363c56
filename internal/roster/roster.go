// Package roster reads the list of people who are expected in the sessions of a project: a CSV file
// that the operator writes, as spreadsheets save it. It decides nothing about what is recorded.
package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/syncflow/textegress/internal/pattern"
)

// The bounds of a file.
const (
	maxBytes   = 8 << 20
	maxEntries = 50_000
)

// The columns with a meaning. All but the first may be missing.
const (
	columnIdentity = "identity"
	columnPerson   = "person"
	columnName     = "name"
	columnRoom     = "room"
)

// Entry is one line of a roster. Everything in it is personal data.
type Entry struct {
	Identity string
	Person   string // who it is in the whole study; "" if not given
	Name     string // for display
	Room     string // pattern of the rooms in which the participant is expected; "": all
	// Extra has the further columns by name, as written in the first line.
	Extra map[string]string

	rooms pattern.Pattern
}

// Roster is the content of a file. A nil Roster expects nobody.
type Roster struct{ entries []Entry }

// Load reads a file. The errors name the file, the line and the column, and quote nothing of it.
func Load(path string) (*Roster, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read the roster: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the roster %s: %w", path, err)
	}
	r, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("roster %s: %w", path, err)
	}
	return r, nil
}

// Parse is Load for the content of a file.
func Parse(b []byte) (*Roster, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // spreadsheets write it
	switch {
	case len(b) > maxBytes:
		return nil, fmt.Errorf("it has more than %d MiB", maxBytes>>20)
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return nil, errors.New("it is UTF-16: save it as “CSV UTF-8”")
	case !utf8.Valid(b):
		line := 1 + bytes.Count(b[:firstInvalid(b)], []byte("\n"))
		return nil, fmt.Errorf("line %d: it is not UTF-8: save it as “CSV UTF-8”", line)
	}
	in := csv.NewReader(bytes.NewReader(b))
	in.Comma, in.FieldsPerRecord = separator(b), -1
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty; the first line names the columns, at least identity")
	}
	if err != nil {
		return nil, at(err)
	}
	p := parser{in: in, columns: map[string]int{}, seen: map[[2]string]int{}}
	if err := p.header(header); err != nil {
		return nil, err
	}
	return p.entries()
}

func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// separator returns what separates the columns in the first line: spreadsheets use a semicolon
// where the comma is a decimal sign.
func separator(b []byte) rune {
	first, _, _ := bytes.Cut(b, []byte("\n"))
	best := ','
	for _, s := range ";\t" {
		if bytes.Count(first, []byte(string(s))) > bytes.Count(first, []byte(string(best))) {
			best = s
		}
	}
	return best
}

// at returns a parser's error, which may quote the file, as line and column.
func at(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d, character %d: %w", e.Line, e.Column, e.Err)
	}
	return err
}

type parser struct {
	in      *csv.Reader
	columns map[string]int // positions of the columns with a meaning
	extra   map[int]string // names of the others
	seen    map[[2]string]int
}

func (p *parser) header(names []string) error {
	p.extra = map[int]string{}
	known := []string{columnIdentity, columnPerson, columnName, columnRoom}
	used := map[string]bool{}
	for i, name := range names {
		name = strings.TrimSpace(name)
		low := strings.ToLower(name)
		switch {
		case low == "":
			continue // spreadsheets save empty columns
		case used[low]:
			return fmt.Errorf("line 1, column %d: a column of this name comes before", i+1)
		case slices.Contains(known, low):
			p.columns[low] = i
		default:
			p.extra[i] = name
		}
		used[low] = true
	}
	if _, ok := p.columns[columnIdentity]; !ok {
		return errors.New("line 1: there is no column identity; the first line names the columns")
	}
	return nil
}

func (p *parser) entries() (*Roster, error) {
	r := &Roster{}
	for {
		fields, err := p.in.Read()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, at(err)
		}
		if blank(fields) {
			continue
		}
		e, err := p.entry(fields)
		if err != nil {
			return nil, err
		}
		if r.entries = append(r.entries, e); len(r.entries) > maxEntries {
			return nil, fmt.Errorf("it has more than %d lines", maxEntries)
		}
	}
}

func blank(fields []string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return strings.TrimSpace(f) != "" })
}

func (p *parser) entry(fields []string) (Entry, error) {
	line, _ := p.in.FieldPos(0)
	field := func(name string) string {
		i, ok := p.columns[name]
		if !ok || i >= len(fields) {
			return ""
		}
		return strings.TrimSpace(fields[i])
	}
	e := Entry{
		Identity: field(columnIdentity), Person: field(columnPerson), Name: field(columnName),
		Room: field(columnRoom), rooms: pattern.Pattern{Prefix: true},
	}
	if e.Identity == "" {
		return e, fmt.Errorf("line %d, column %d (identity): it is empty", line,
			p.columns[columnIdentity]+1)
	}
	if e.Room != "" {
		var err error
		if e.rooms, err = pattern.Parse(e.Room); err != nil {
			return e, fmt.Errorf("line %d, column %d (room): %w", line, p.columns[columnRoom]+1, err)
		}
	}
	key := [2]string{e.Identity, e.Room}
	if before := p.seen[key]; before != 0 {
		return e, fmt.Errorf("line %d, column %d (identity): line %d has it already, for the same "+
			"rooms", line, p.columns[columnIdentity]+1, before)
	}
	p.seen[key] = line
	for i, f := range fields {
		if name, ok := p.extra[i]; ok && strings.TrimSpace(f) != "" {
			if e.Extra == nil {
				e.Extra = map[string]string{}
			}
			e.Extra[name] = strings.TrimSpace(f)
		}
	}
	return e, nil
}

// Expected returns the people who are expected in a room, each identity once, in the order of the
// file. The first line for an identity counts.
func (r *Roster) Expected(room string) []Entry {
	if r == nil {
		return nil
	}
	var out []Entry
	seen := map[string]bool{}
	for _, e := range r.entries {
		if e.rooms.Match(room) && !seen[e.Identity] {
			seen[e.Identity] = true
			out = append(out, e)
		}
	}
	return out
}

// Entries returns the lines of the file, in order.
func (r *Roster) Entries() []Entry {
	if r == nil {
		return nil
	}
	return slices.Clone(r.entries)
}

// Len returns the number of lines.
func (r *Roster) Len() int {
	if r == nil {
		return 0
	}
	return len(r.entries)
}
