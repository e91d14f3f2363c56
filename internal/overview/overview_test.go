package overview_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/overview"
)

var at = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// classroom is a session in which one person is silent and one is missing.
func classroom() overview.Session {
	return overview.Session{
		EgressID: "EG_1", Room: "class-7a", State: overview.StateRecording, Level: overview.Warn,
		Count: 2, Silent: 1, Absent: 1, TextAllowed: true, People: []overview.Person{
			{Identity: "fatima-id", Name: "Fatima", State: overview.PersonAbsent},
			{Identity: "chen-id", State: overview.PersonSilent},
			{Identity: "alice-id", State: overview.PersonPresent},
		},
	}
}

func TestJudge(t *testing.T) {
	cutOff := overview.Session{
		Room: "class-7b", State: overview.StateCutOff, Level: overview.Bad,
		CutOffSince: at.Add(-12 * time.Second), Reason: "LiveKit does not answer",
	}
	calm := overview.Session{Room: "a", State: overview.StateRecording, Level: overview.OK}
	tests := []struct {
		name string
		o    overview.Overview
		want overview.Verdict
	}{
		{"idle", overview.Overview{}, overview.Verdict{
			Level: overview.Idle, Headline: "No session is running. The service is ready to record.",
		}},
		{"all is well", overview.Overview{Sessions: []overview.Session{calm, calm}}, overview.Verdict{
			Level: overview.OK, Recording: 2,
			Headline: "Recording 2 sessions. Everything is on disk.",
		}},
		{"cut off, one missing", overview.Overview{Sessions: []overview.Session{
			classroom(), cutOff, calm,
		}}, overview.Verdict{
			Level: overview.Bad, Recording: 2,
			Headline: "Recording 2 sessions, but one session is cut off and one person is missing",
			Details: []string{
				"class-7b: cut off for 12 s, LiveKit does not answer",
				"class-7a: “Fatima” is expected and not there",
				"class-7a: “chen-id” is silent for 10 min or longer",
			},
		}},
		{"full disk", overview.Overview{
			Disk: overview.Disk{State: overview.DiskFull}, Sessions: []overview.Session{cutOff},
		}, overview.Verdict{
			Level:    overview.Bad,
			Headline: "Nothing is being recorded: the disk is full and one session is cut off",
			Details:  []string{"class-7b: cut off for 12 s, LiveKit does not answer"},
		}},
		{"refused bucket, nothing running", overview.Overview{Health: []overview.Health{
			{What: overview.HealthStore, Name: "Bucket", Text: "access denied", Level: overview.Bad},
		}}, overview.Verdict{
			Level:    overview.Bad,
			Headline: "Nothing is being recorded, and there is a problem with the bucket",
			Details:  []string{"Bucket: access denied"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.At = at
			if tt.want.Details == nil {
				tt.want.Details = []string{}
			}
			if d := cmp.Diff(tt.want, overview.Judge(tt.o)); d != "" {
				t.Error(d)
			}
		})
	}
}

// Without the right to read, no name of a participant is in what is shown, and the original value
// keeps them.
func TestForRemovesNames(t *testing.T) {
	o := overview.Overview{At: at, Sessions: []overview.Session{classroom()}}
	o.Verdict = overview.Judge(o)
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	all := text(o)
	less := text(o.For(overview.Rights{}))
	for _, name := range []string{"fatima-id", "Fatima", "chen-id", "alice-id"} {
		if strings.Contains(less, name) {
			t.Errorf("without the right to read, %s is shown: %s", name, less)
		}
	}
	if !strings.Contains(less, "one person is expected") || !strings.Contains(less, "class-7a") {
		t.Errorf("counts and rooms are missing: %s", less)
	}
	if strings.Contains(less, `"text_allowed":true`) {
		t.Error("text is allowed without the right to read")
	}
	if text(o) != all || !strings.Contains(all, "Fatima") {
		t.Error("For changed its receiver")
	}
	if text(o.For(overview.Rights{Read: true})) != all {
		t.Error("with the right to read, something is missing")
	}
	rec := overview.Recording{Session: classroom()}
	if strings.Contains(text(rec.For(overview.Rights{})), "alice-id") {
		t.Error("a recording names a participant without the right to read")
	}
}
