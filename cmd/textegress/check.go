package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/syncflow"
)

type configCheckCmd struct {
	JSON bool `name:"json" help:"Print JSON: ok, settings, warnings, checks."`
}

// checkResult is the result of testing one part of one project.
type checkResult struct {
	Project int `json:"project"` // n of PROJECTS__n__; -1: the whole service
	// settings, data directory, access, syncflow, clock, device, livekit …, broker …, webhooks or
	// bucket
	Part    string `json:"part"`
	OK      bool   `json:"ok"`
	Skipped bool   `json:"skipped,omitempty"` // not tried, because an earlier part failed
	Detail  string `json:"detail"`            // the finding, or the problem and its remedy
	Key     string `json:"key,omitempty"`     // the setting to correct, if it is not OK
}

type checkAnswer struct {
	OK       bool          `json:"ok"`
	Settings []settingLine `json:"settings"`
	Warnings []string      `json:"warnings"`
	Checks   []checkResult `json:"checks"`
}

type settingLine struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // secrets are masked
	Source string `json:"source"`
}

// partTimeout bounds one part. SyncFlow, and a broker that authenticates through it, can take half
// a minute to respond.
const partTimeout = time.Minute

func (c *configCheckCmd) Run(env *environment) error {
	cfg, err := env.loadConfig()
	if err != nil {
		return err
	}
	answer := checkAnswer{
		OK: true, Warnings: append([]string{}, cfg.Warnings...),
		Checks: []checkResult{},
	}
	rows := [][]string{{"SETTING", "VALUE", "FROM"}}
	for _, s := range cfg.Settings() {
		answer.Settings = append(answer.Settings, settingLine(s))
		rows = append(rows, []string{s.Key, s.Value, s.Source})
	}
	if !c.JSON {
		if err := printTable(env.stdout, rows); err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintf(env.stdout, "\nwarning: %s\n", escape(w))
		}
		fmt.Fprintln(env.stdout)
	}
	failed := 0
	checkAll(env.ctx, cfg, func(f checkResult) {
		answer.Checks = append(answer.Checks, f)
		if !f.OK && !f.Skipped {
			failed++
			answer.OK = false
		}
		if !c.JSON {
			fmt.Fprintln(env.stdout, f)
		}
	})
	if err := env.ctx.Err(); err != nil {
		return fmt.Errorf("config check: %w", context.Cause(env.ctx))
	}
	if c.JSON {
		if err := printJSON(env.stdout, answer); err != nil {
			return err
		}
	}
	if failed > 0 {
		return problemsFoundError("%d checks failed", failed)
	}
	return nil
}

// String returns one line of text for the operator.
func (f checkResult) String() string {
	mark := "FAILED "
	switch {
	case f.OK:
		mark = "ok     "
	case f.Skipped:
		mark = "skipped"
	}
	of := fmt.Sprintf("project %d", f.Project)
	if f.Project == wholeService {
		of = "service"
	}
	line := fmt.Sprintf("%s  %-9s  %-14s  %s", mark, of, f.Part, escape(f.Detail))
	if f.Key != "" {
		line += "\n" + strings.Repeat(" ", len(mark)+2) + "look at: " + f.Key
	}
	return line
}

// checkAll tests all parts of all projects, even if some fail.
func checkAll(ctx context.Context, cfg *config.Config, report func(checkResult)) {
	for _, b := range cfg.Broken {
		for _, p := range b.Problems {
			report(checkResult{Project: b.Index, Part: "settings", Detail: p.String(), Key: p.Key})
		}
	}
	instance, err := instanceOf(cfg)
	if err != nil {
		instance = "not-named-yet" // the name is assigned at the first start
	}
	report(checkDataDir(cfg))
	report(checkAccess(cfg))
	for _, p := range cfg.Projects {
		if p.Platform() == config.LiveKitServer {
			checkServer(ctx, cfg, p, report)
		} else {
			checkProject(ctx, cfg, p, report)
			checkBroker(ctx, cfg, p, instance, report)
		}
		report(inTime(ctx, func(ctx context.Context) checkResult { return checkBucket(ctx, p) }))
		if p.RosterFile != "" {
			report(checkRoster(p))
		}
	}
}

func inTime(ctx context.Context, check func(context.Context) checkResult) checkResult {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	return check(ctx)
}

// checkSyncFlow reads the project and returns the address of its LiveKit server.
func checkSyncFlow(ctx context.Context, p config.Project, api *syncflow.Client) (_ checkResult,
	liveKitURL string,
) {
	f := checkResult{Project: p.Index, Part: "syncflow"}
	found, err := api.Project(ctx)
	if err == nil {
		f.OK, f.Detail = true, fmt.Sprintf("reached, key accepted: project %q, LiveKit at %s",
			found.Name, found.LiveKitURL)
		return f, found.LiveKitURL
	}
	f.Detail, f.Key = err.Error(), "SYNCFLOW_SERVER_URL"
	if errors.Is(err, session.ErrUnauthorized) {
		f.Key = credentialKeys(p)
	} else if a, ok := errors.AsType[*syncflow.APIError](err); ok &&
		strings.EqualFold(a.Message, "Project not found") {
		f.Key = p.Variable("PROJECT_ID")
	}
	return f, ""
}

// credentialKeys are the settings with which the service authenticates at SyncFlow.
func credentialKeys(p config.Project) string {
	return p.Variable("KEY") + ", " + p.Variable("SECRET") + ", " +
		p.Variable("PROJECT_ID")
}

func checkBroker(ctx context.Context, cfg *config.Config, p config.Project, instance string,
	report func(checkResult),
) {
	api, err := project.SyncFlow(cfg, p, project.Options{})
	if err != nil {
		report(checkResult{Project: p.Index, Part: "broker login", Detail: err.Error()})
		return
	}
	options := project.Broker(cfg, p, instance, syncflow.NewRegistry(api, cfg.DeviceGroup))
	ctx, cancel := context.WithTimeout(ctx, 2*partTimeout)
	defer cancel()
	keys := map[string]string{
		"login":   "RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_TLS, RABBITMQ_VHOST_NAME",
		"binding": "DEVICE_GROUP_NAME",
	}
	for _, r := range rabbitmq.Check(ctx, options) {
		f := checkResult{
			Project: p.Index, Part: "broker " + r.Stage, OK: r.OK, Skipped: r.Skipped,
			Detail: r.Detail,
		}
		switch {
		case r.Skipped:
			f.Detail = "not tried: the previous step failed"
		case !r.OK && r.TokenRefused:
			f.Key = credentialKeys(p)
		case !r.OK:
			f.Key = keys[r.Stage]
		}
		report(f)
	}
}

func checkBucket(ctx context.Context, p config.Project) checkResult {
	f := checkResult{Project: p.Index, Part: "bucket", Key: p.Variable("DIRECTORY")}
	if p.S3 != nil {
		f.Key = p.Variable("S3_CONFIG__…")
	}
	bucket, err := project.Bucket(p)
	directory, isDir := bucket.(*dir.Bucket)
	if err == nil && isDir {
		err = directory.Check()
	}
	if err == nil {
		var key string
		f.Detail, key, err = probe(ctx, bucket, p.ProjectID)
		if isDir {
			removeEmpty(p.Directory, key)
		}
	}
	if err == nil && isDir && directory.IsPortable() {
		f.Detail += "; its file system cannot store every name, so files are named as " +
			"docs/FORMAT.md describes (Names on other file systems)"
	}
	if err != nil {
		// the probe's key is of no use to the operator
		f.Detail = objstore.Redacted(err, err.Error())
		return f
	}
	f.OK, f.Key = true, ""
	return f
}

// hardestName resembles the identities after which real objects are named. Repeated, it fills a
// name of 255 bytes.
const hardestName = "Zoë +1 \"学生\" <مرحبا> 👩🏽‍🎓 e\u0301?*|"

// removeEmpty removes the folders that an object of a directory has left, as far as they are empty.
// A store leaves none.
func removeEmpty(directory, key string) {
	for k := path.Dir(key); k != "."; k = path.Dir(k) {
		if os.Remove(filepath.Join(directory, filepath.FromSlash(k))) != nil {
			return // not empty, or named otherwise on this file system: harmless
		}
	}
}

// probe puts an object, reads it back and deletes it, and returns its key. Only the deletion may
// fail, because delivery never deletes.
func probe(ctx context.Context, bucket objstore.Bucket, projectID string) (detail, key string,
	err error,
) {
	content := []byte("written by textegress config check, safe to delete: " + rand.Text() + "\n")
	key = textegress.Prefix("textegress-config-check", projectID, "probe: 100%", "", rand.Text()) +
		textegress.TextViewName(strings.Repeat(hardestName, 5), "a topic: with a long name, too",
			time.Now())
	object := objstore.Bytes(content, "text/plain; charset=utf-8")
	if err := bucket.Upload(ctx, key, object); err != nil {
		return "", key, err
	}
	problem := readBack(ctx, bucket, key, content, object)
	deleteErr := bucket.Delete(ctx, key)
	if problem != nil {
		return "", key, problem
	}
	if deleteErr != nil {
		return fmt.Sprintf("%s: put and read back; the probe could not be deleted, but delivery "+
			"does not need to delete: %s", bucket,
			objstore.Redacted(deleteErr, deleteErr.Error())), key, nil
	}
	return fmt.Sprintf("%s: put, read back, deleted", bucket), key, nil
}

func readBack(ctx context.Context, bucket objstore.Bucket, key string, content []byte,
	object objstore.Object,
) error {
	if err := objstore.Verify(ctx, bucket, key, object.Size, object.SHA256); err != nil {
		return err
	}
	body, err := bucket.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	got, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the probe back: %w", err)
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("%s returned other content than was put there", bucket)
	}
	return nil
}
