package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/fsname/fsnametest"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/project"
)

// TestUnusableDirectory: a directory that cannot be used is said before there is anything to
// deliver, and no longer when it is in order.
func TestUnusableDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	d, err := dir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	projects := []managedProject{
		{Project: project.Project{Config: config.Project{Index: 3}, Bucket: d}},
		{broken: "settings"},
	}
	if got := unusable(projects); len(got) != 0 {
		t.Errorf("%q", got)
	}
	root, err := fsnametest.Open(t.TempDir(), fsnametest.Limited{Longest: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	projects[0].Bucket = dir.On(root, "/media/stick")
	checkUnusable(projects) // nobody has found anything wrong yet
	if got := unusable(projects); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if err := projects[0].Bucket.(*dir.Bucket).Check(); err == nil {
		t.Fatal("a directory with short names is in order")
	}
	got := unusable(projects)
	if len(got) != 1 || !strings.HasPrefix(got[0], "project 3: ") || !strings.Contains(got[0],
		"/media/stick") || !strings.Contains(got[0], "names of 255 bytes") {
		t.Errorf("%q", got)
	}
	root.Longest = 0
	checkUnusable(projects)
	if got := unusable(projects); len(got) != 0 {
		t.Errorf("in order again: %q", got)
	}
}

// TestUndelivered: what fails is named with its project, recording, cause and remedy, in bounded
// length, also where its project is not configured any more.
func TestUndelivered(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	const refused = "check the bucket: stat (s3://b at https://s3.example.org): HTTP 403, " +
		"SignatureDoesNotMatch; check SECRET_KEY"
	var many []delivery.Failure
	for i := range 7 {
		many = append(many, delivery.Failure{
			EgressID: fmt.Sprintf("DE_%d", i),
			Error:    fmt.Sprintf("error %d", i), Since: at.Add(-time.Duration(i) * time.Hour),
		})
	}
	projects := []managedProject{
		{Project: project.Project{Config: config.Project{Index: 0, ProjectID: "a"}}},
		{Project: project.Project{Config: config.Project{Index: 3, ProjectID: "b"}}},
		{broken: "settings"},
	}
	got := undelivered(projects, delivery.Snapshot{Projects: map[string]delivery.ProjectSnapshot{
		"a": {Pending: 1},
		"b": {Pending: 9, Failing: []delivery.Failure{{
			EgressID: "DE_x", Others: 8,
			Error: refused, Since: at,
		}}},
		"gone": {Pending: 1, Failing: []delivery.Failure{
			{EgressID: "DE_y", Error: "project gone is not in the configuration", Since: at},
		}},
		"many": {Pending: 7, Failing: many},
	}})
	want := [][]string{
		{"project 3:", "DE_x", "8 others", "2026-03-04T05:06:07Z", refused},
		{"project gone:", "DE_y", "not in the configuration"},
		{"DE_6", "error 6"},
		{"DE_5"},
		{"DE_4"},
		{"DE_3"},
		{"DE_2"},
		{"project many:", "2 more", "/status.json"},
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i, parts := range want {
		for _, part := range parts {
			if !strings.Contains(got[i], part) {
				t.Errorf("%q does not say %q", got[i], part)
			}
		}
	}
	if s := undelivered(projects, delivery.Snapshot{}); len(s) != 0 {
		t.Errorf("nothing fails: %q", s)
	}
}

// TestBucketThatCannotBeSetUp: a project whose directory cannot be made is recorded all the same,
// and delivers as soon as the directory can be made.
func TestBucketThatCannotBeSetUp(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	pc := config.Project{ProjectID: "p", Index: 2, Directory: filepath.Join(missing, "out")}
	_, err := project.Bucket(pc)
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Fatalf("%v", err)
	}
	a := &App{log: slog.New(slog.DiscardHandler), dispatcher: delivery.New(delivery.Options{
		Logger: slog.New(slog.DiscardHandler),
	})}
	a.projects = []*managedProject{{Project: project.Project{Config: pc, BucketError: err}}}
	if got := unusable(a.snapshotProjects()); len(got) != 1 || !strings.Contains(got[0], missing) {
		t.Errorf("%q", got)
	}
	a.retryBuckets()
	if _, err := (liveProjects{a}).Bucket("p"); err == nil {
		t.Error("a bucket in a directory that cannot be made")
	}
	if err := os.Mkdir(missing, 0o700); err != nil {
		t.Fatal(err)
	}
	a.retryBuckets()
	if _, err := (liveProjects{a}).Bucket("p"); err != nil {
		t.Error(err)
	}
	if got := unusable(a.snapshotProjects()); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
