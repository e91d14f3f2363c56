package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/uploader"
)

// TestUndelivered: what fails is named with its project, recording, cause and remedy, in bounded length, also where its
// project is not configured any more.
func TestUndelivered(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	const refused = "ask the bucket: stat (s3://b at https://s3.example.org): HTTP 403, SignatureDoesNotMatch; check SECRET_KEY"
	var many []uploader.Failure
	for i := range 7 {
		many = append(many, uploader.Failure{EgressID: fmt.Sprintf("DE_%d", i), Error: fmt.Sprintf("error %d", i), Since: at.Add(-time.Duration(i) * time.Hour)})
	}
	projects := []project{{config: config.Project{Index: 0, ProjectID: "a"}}, {config: config.Project{Index: 3, ProjectID: "b"}}, {broken: "settings"}}
	got := undelivered(projects, uploader.Snapshot{Projects: map[string]uploader.ProjectSnapshot{
		"a":    {Pending: 1},
		"b":    {Pending: 9, Failing: []uploader.Failure{{EgressID: "DE_x", Others: 8, Error: refused, Since: at}}},
		"gone": {Pending: 1, Failing: []uploader.Failure{{EgressID: "DE_y", Error: "project gone is not in the configuration", Since: at}}},
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
	if s := undelivered(projects, uploader.Snapshot{}); len(s) != 0 {
		t.Errorf("nothing fails: %q", s)
	}
}
