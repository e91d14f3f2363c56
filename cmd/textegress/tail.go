package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/tail"
)

type tailCmd struct {
	dataDirFlag

	Name     string   `arg:"" optional:"" name:"recording" help:"A session, a room or an egress id in the data directory; or a delivered recording: a directory or s3://bucket/prefix. By default the only open recording."`
	Follow   bool     `short:"f" help:"Wait for further messages, until the recording ends."`
	Topic    []string `placeholder:"TOPIC" sep:"none" help:"Only messages with this topic; a star at the end matches any ending. May be repeated."`
	Identity []string `placeholder:"IDENTITY" sep:"none" help:"Only messages and events of this participant. May be repeated."`
	Since    string   `placeholder:"TIME" help:"Only what was received since then: a duration (10m) or a time (14:05, 2026-01-31T14:05:00Z)."`
	Last     string   `short:"n" name:"lines" placeholder:"N" help:"Only the last N of the existing messages, or all; by default 20, with --since all."`
	JSON     bool     `name:"json" help:"Print the lines of events.jsonl."`
}

// defaultLines is how many existing lines are shown.
const defaultLines = 20

func (c *tailCmd) Run(env *environment) error {
	o, err := c.options(env, time.Now())
	if err != nil {
		return usageError(err)
	}
	if _, err := os.Stat(filepath.Join(c.Name, textegress.ManifestName)); c.Name != "" &&
		(err == nil || strings.HasPrefix(c.Name, "s3://")) {
		return c.delivered(env, o)
	}
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	s, err := spool.OpenReadOnly(dir)
	if err != nil {
		return fmt.Errorf("open the data directory: %w", err)
	}
	defer func() { _ = s.Close() }()
	rec, others, err := tail.Choose(s.Recordings(), c.Name)
	switch {
	case errors.Is(err, tail.ErrNone):
		return fmt.Errorf("no recording, session or room is called %q in %s; see textegress list",
			c.Name, dir)
	case err != nil:
		if terr := c.listAll(env, s); terr != nil {
			return terr
		}
		return usageError(err)
	}
	info := rec.Info()
	fmt.Fprintf(env.stderr, "Recording %s of the room %s, session %s; times in %s.%s\n",
		escape(info.EgressID), escape(info.RoomName), escape(info.SessionID), zone(o.Format.Zone),
		moreMatch(others))
	src, err := openLocal(env, dir, rec)
	if errors.Is(err, follow.ErrGone) {
		return fmt.Errorf("%w; name the delivered one: s3://<bucket>/%s", err, info.KeyPrefix)
	}
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	return tail.Run(env.ctx, c.output(env), src, o)
}

// openLocal opens a recording in the data directory, which the service may be writing.
func openLocal(env *environment, dir string, rec *spool.Recording) (*follow.Decoder, error) {
	projects := project.Configured{
		Names: pseudonym.OpenReadOnly(dir), Logger: slog.New(slog.DiscardHandler),
	}
	if c, err := env.loadConfig(); err == nil { // without settings there are no keys
		projects.Projects = c.Projects
	}
	decoding, err := follow.Decode(projects)(rec)
	if err != nil {
		return nil, err
	}
	return follow.NewDecoder(env.ctx, rec, follow.DecoderOptions{
		Decoding: decoding, Scratch: render.NewDiscardSink(env.keepFree()).Scratch,
	})
}

func (c *tailCmd) delivered(env *environment, o tail.Options) error {
	fsys, err := env.openDelivered(c.Name)
	if err != nil {
		return err
	}
	rec, err := textegress.Open(fsys)
	if err != nil {
		return fmt.Errorf("open the recording: %w", err)
	}
	m := rec.Manifest()
	fmt.Fprintf(env.stderr, "Recording %s of the room %s, session %s; times in %s.\n",
		escape(m.EgressID), escape(m.Session.RoomName), escape(m.Session.ID), zone(o.Format.Zone))
	f, err := textegress.OpenObject(fsys, textegress.EventsName)
	if err != nil {
		return fmt.Errorf("open the recording: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return tail.Run(env.ctx, c.output(env), tail.NewDelivered(f), o)
}

// output returns standard output; on a terminal, JSON is escaped.
func (c *tailCmd) output(env *environment) interface{ Write([]byte) (int, error) } {
	if c.JSON && isTerminal(env.stdout) {
		return jsonWriter{env.stdout}
	}
	return env.stdout
}

// listAll shows what can be named.
func (c *tailCmd) listAll(env *environment, s *spool.Spool) error {
	rows := [][]string{{"EGRESS ID", "STARTED", "ROOM", "SESSION", "LOCAL DATA"}}
	for _, r := range s.Recordings() {
		i := r.Info()
		rows = append(rows, []string{
			i.EgressID, time.Unix(0, i.CreatedUnixNS).UTC().Format(time.DateTime), i.RoomName,
			i.SessionID, string(r.State()),
		})
	}
	return printTable(env.stderr, rows)
}

func moreMatch(others int) string {
	switch others {
	case 0:
		return ""
	case 1:
		return " One more recording matches; this is the newest."
	}
	return fmt.Sprintf(" %d more recordings match; this is the newest.", others)
}

func zone(l *time.Location) string {
	name, offset := time.Now().In(l).Zone()
	if offset == 0 {
		return "UTC"
	}
	return name
}

func (c *tailCmd) options(env *environment, now time.Time) (o tail.Options, err error) {
	if o.Topics, err = patterns("--topic", c.Topic); err != nil {
		return o, err
	}
	if o.Identities, err = patterns("--identity", c.Identity); err != nil {
		return o, err
	}
	o.Last = defaultLines
	if c.Since != "" {
		if o.Since, err = since(c.Since, now); err != nil {
			return o, err
		}
		o.Last = -1
	}
	switch {
	case c.Last == "all":
		o.Last = -1
	case c.Last != "":
		n, err := strconv.ParseUint(c.Last, 10, 31)
		if err != nil {
			return o, fmt.Errorf("-n %q is neither a number nor all", c.Last)
		}
		o.Last = int(n)
	}
	o.Follow, o.JSON = c.Follow, c.JSON
	o.Format = tail.Format{
		Zone: now.Location(), Escape: escape,
		Color: isTerminal(env.stdout) && os.Getenv("NO_COLOR") == "",
	}
	return o, nil
}

func patterns(flag string, entries []string) (list []pattern.Pattern, err error) {
	for _, e := range entries {
		p, err := pattern.Parse(e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// since parses a duration before now, or a time: of today, in the local zone, or with its date.
func since(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
	} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %q is neither a duration, such as 10m, nor a time, such "+
		"as 14:05 or 2026-01-31T14:05:00Z", s)
}
