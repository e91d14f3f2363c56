package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
)

type forgetCmd struct {
	Identity  string `arg:"" help:"The participant's exact identity."`
	Project   string `placeholder:"ID" help:"Only in recordings of this project."`
	Session   string `placeholder:"ID" help:"Only in recordings of this session."`
	Recording string `placeholder:"EGRESS-ID" help:"Only in this recording."`
	From      string `placeholder:"PLACE" help:"Only in delivered recordings below PLACE, which need not be in the data directory: a directory or s3://bucket/prefix."`
	Key       string `name:"e2ee-key-file" type:"path" placeholder:"FILE" help:"With --from: the keys that the recordings were decrypted with, as for export; by default those of the settings."`
	DryRun    bool   `help:"Only search and report."`
	Yes       bool   `help:"Remove the data. Without this flag the command only searches."`
	JSON      bool   `name:"json" help:"Print JSON: dry_run, recordings, problems."`
}

func (c *forgetCmd) Run(env *environment) error {
	if c.DryRun && c.Yes {
		return usageError(errors.New("--dry-run and --yes cannot be combined"))
	}
	if c.Identity == "" {
		return usageError(errors.New("the identity is empty"))
	}
	if c.Key != "" && c.From == "" {
		return usageError(errors.New("--e2ee-key-file requires --from; without --from, the keys " +
			"of the settings are used"))
	}
	q := erasure.Request{
		Identity: c.Identity, Project: c.Project, Session: c.Session,
		Recording: c.Recording, DryRun: !c.Yes,
	}
	var answer erasure.Answer
	var err error
	if c.From != "" {
		answer, err = c.from(env, q)
	} else {
		answer, err = c.local(env, q)
	}
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if c.JSON {
		err = printJSON(env.stdout, answer)
	} else {
		err = c.print(env, answer)
	}
	if err == nil && !answer.Complete() {
		err = problemsFoundError("not everything was searched or removed; see the problems")
	}
	return err
}

// local sends the request to the service that holds the data directory; if none is running, it
// erases offline.
func (c *forgetCmd) local(env *environment, q erasure.Request) (answer erasure.Answer, err error) {
	cfg, err := env.loadConfig()
	if err != nil {
		return answer, err
	}
	err = web.Dial(cfg.DataDir).Forget(env.ctx, q, &answer)
	if !errors.Is(err, web.ErrNotRunning) {
		return answer, err
	}
	if _, err := os.Stat(cfg.DataDir); err != nil {
		return answer, fmt.Errorf("the data directory: %w", err)
	}
	return forgetOffline(env, cfg, q)
}

// forgetOffline works directly on the data directory while no service is running.
func forgetOffline(env *environment, cfg *config.Config, q erasure.Request) (answer erasure.Answer,
	err error,
) {
	logger := env.newLogger(cfg, new(slog.LevelVar))
	sp, err := spool.Open(cfg.DataDir, spool.Options{
		SyncInterval: cfg.SyncInterval, DiskMinFree: cfg.DiskMinFree, Logger: logger,
	})
	if err != nil {
		return answer, fmt.Errorf("open DATA_DIR: %w", err)
	}
	defer func() {
		if cerr := sp.Close(); err == nil {
			err = cerr
		}
	}()
	names := pseudonym.Open(cfg.DataDir)
	projects := project.Configured{Projects: cfg.Projects, Names: names, Logger: logger}
	return erasure.New(erasure.Options{
		Spool: sp, Projects: projects, ForgetPseudonym: names.Erase,
		KeepFree: diskguard.Reserved(cfg.DiskMinFree), Logger: logger,
		Dispatcher: delivery.New(delivery.Options{
			Spool: sp, Projects: projects, Retention: cfg.Retention, Logger: logger,
		}),
	}).Erase(env.ctx, q)
}

func (c *forgetCmd) from(env *environment, q erasure.Request) (answer erasure.Answer, err error) {
	place := erasure.Place{DiskMinFree: env.diskMinFree()}
	if rest, ok := strings.CutPrefix(c.From, "s3://"); ok {
		name, prefix, _ := strings.Cut(rest, "/")
		prefix = strings.Trim(strings.TrimSuffix(prefix, "manifest.json"), "/")
		if name == "" || prefix == "" {
			return answer, usageError(fmt.Errorf("%s: use s3://bucket/prefix; a whole bucket is "+
				"not accepted", c.From))
		}
		place.Prefix = prefix + "/"
		place.Bucket, err = bucketOf(env, name)
	} else {
		var info os.FileInfo
		if info, err = os.Stat(c.From); err == nil && !info.IsDir() {
			err = usageError(fmt.Errorf("%s is not a directory", c.From))
		}
		if err == nil {
			place.Bucket, err = dir.New(c.From)
		}
	}
	if err != nil {
		return answer, err
	}
	place.KeysFor = func(projectID string) (*render.Keys, error) {
		if err := c.mayDecrypt(env, projectID); err != nil {
			return nil, err
		}
		o, err := withKeys(env, render.Options{}, c.Key, projectID)
		return o.Keys, err
	}
	if place.Scratch, err = os.MkdirTemp("", "textegress-forget-"); err != nil {
		return answer, err
	}
	defer func() {
		if rerr := os.RemoveAll(place.Scratch); err == nil {
			err = rerr
		}
	}()
	return erasure.From(env.ctx, place, q)
}

// mayDecrypt refuses the keys of a project that does not deliver to the bucket of --from.
func (c *forgetCmd) mayDecrypt(env *environment, projectID string) error {
	rest, inBucket := strings.CutPrefix(c.From, "s3://")
	if !inBucket || c.Key != "" {
		return nil
	}
	name, _, _ := strings.Cut(rest, "/")
	cfg, err := env.loadConfig()
	if err != nil {
		return err
	}
	return deliversTo(cfg, projectID, name)
}

// deliversTo returns an error if the project delivers to another bucket. The recording itself names
// the project, and content decrypted with that project's keys is delivered to the bucket that holds
// the recording.
func deliversTo(c *config.Config, projectID, bucket string) error {
	for _, p := range c.Projects {
		if p.ProjectID == projectID && (p.S3 == nil || p.S3.Bucket != bucket) {
			return fmt.Errorf("nothing was changed: the recording names project %s, which does "+
				"not deliver to the bucket %s, so the keys of that project are not used; if the "+
				"project is right, give the keys with --e2ee-key-file", projectID, bucket)
		}
	}
	return nil
}

func bucketOf(env *environment, name string) (objstore.Bucket, error) {
	c, err := env.loadConfig()
	if err != nil {
		return nil, err
	}
	p, err := projectOfBucket(c, name)
	if err != nil {
		return nil, err
	}
	return project.Bucket(p)
}

func (c *forgetCmd) print(env *environment, a erasure.Answer) error {
	rows := [][]string{{
		"EGRESS ID", "ROOM", "SESSION", "OUTCOME", "FRAMES", "LINES", "REVISION",
		"DELETED",
	}}
	for _, r := range a.Recordings {
		if r.Outcome == erasure.Nothing {
			continue
		}
		revision := "-"
		if r.Revision > 0 {
			revision = fmt.Sprint(r.Revision)
		}
		rows = append(rows, []string{
			r.EgressID, r.RoomName, r.SessionID, string(r.Outcome), fmt.Sprint(r.Frames),
			fmt.Sprint(r.Lines), revision, fmt.Sprint(r.Deleted),
		})
	}
	if len(rows) > 1 {
		if err := printTable(env.stdout, rows); err != nil {
			return err
		}
	}
	for _, r := range a.Recordings {
		for _, p := range r.Problems {
			fmt.Fprintf(env.stdout, "%s: %s\n", escape(r.EgressID), escape(p))
		}
	}
	for _, p := range a.Problems {
		fmt.Fprintln(env.stdout, escape(p))
	}
	fmt.Fprintf(env.stdout, "searched %d recordings, found the participant in %d\n",
		len(a.Recordings), len(rows)-1)
	if a.DryRun && len(rows) > 1 && !c.DryRun {
		fmt.Fprintln(env.stderr, "Nothing was changed. Repeat the command with --yes to remove "+
			"the data permanently.")
	}
	fmt.Fprintln(env.stderr, "Recordings of audio, video and screens, which SyncFlow or LiveKit's "+
		"egress made, are not changed.")
	return nil
}
