package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// sendBoth lets a learner send n numbered messages, every third one lossy.
func sendBoth(t *testing.T, l *classroom.Learner, n int) {
	t.Helper()
	ctx := testContext(t)
	for i := range n {
		check(t, l.Send(ctx, "log", fmt.Appendf(nil, `{"n":%d}`, l.Next()), i%3 != 0))
	}
	check(t, l.Drain(ctx))
}

// Two deployments record the same class. Each is killed with -9 once and comes back. Both
// recordings have an outage; merged they have everything, and none.
func TestMergeOfTwoDeployments(t *testing.T) {
	ctx := testContext(t)
	one, two := record(t, "INSTANCE=one"), record(t, "INSTANCE=two")
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "two deployments")
	inRoom(t, one, s)
	inRoom(t, two, s)
	l := join(t, p, s, "alice")
	sent := uint64(0)
	send := func(n int, to ...*stack.Recorder) {
		sendBoth(t, l, n)
		sent += uint64(n)
		for _, r := range to {
			recorded(t, r, s, sent)
		}
	}
	send(40, one, two)
	check(t, one.Kill())
	send(40, two)
	check(t, one.Start(ctx))
	inRoom(t, one, s)
	send(20, two)
	recorded(t, one, s, 20) // it counts anew, and has heard the last ones
	check(t, two.Kill())
	send(40)
	recorded(t, one, s, 60)
	check(t, two.Start(ctx))
	inRoom(t, two, s)
	send(20)
	check(t, l.Leave(ctx))
	end(t, p, s)

	for _, r := range []*stack.Recorder{one, two} {
		check(t, r.Until(ctx, "its recording is delivered", func(st stack.RecorderStatus) bool {
			for _, rec := range st.Recordings {
				if rec.SessionID == s.ID && (rec.State == "uploaded" || rec.State == "removed") {
					return true
				}
			}
			return false
		}))
	}
	ds := must(servers.Delivered(p, s.ID))(t)
	if len(ds) != 2 {
		t.Fatalf("%d recordings are delivered, want one of each deployment", len(ds))
	}
	for _, d := range ds {
		if n := len(d.Manifest().Completeness.Outages); n != 1 {
			t.Errorf("instance %s states %d outages, want that of its kill", d.Manifest().Instance,
				n)
		}
	}

	dir := filepath.Join(t.TempDir(), "merged")
	stdout, stderr, code, err := one.CLI(ctx, "merge", "--json", ds[0].S3URL(), ds[1].S3URL(), dir)
	check(t, err)
	if code != 0 {
		t.Fatalf("merge: exit code %d\n%s%s", code, stdout, stderr)
	}
	var answer struct {
		Merged       []textegress.MergedRecording `json:"merged"`
		Completeness textegress.Completeness      `json:"completeness"`
	}
	check(t, json.Unmarshal([]byte(stdout), &answer))
	stdout, stderr, code, err = one.CLI(ctx, "verify", dir)
	check(t, err)
	if code != 0 {
		t.Errorf("verify the merged recording: exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Logf("%s", stdout)
	rec := must(textegress.Open(os.DirFS(dir)))(t)
	faithful(t, classroom.Report{Sent: map[string][]classroom.Message{"alice": l.Sent()}},
		stack.Delivered{Recording: rec, Dir: dir})
	c := answer.Completeness
	if len(c.Outages) != 0 || c.PossibleDuplicates != 0 {
		t.Errorf("the merged recording states the outages %+v and %d possible duplicates",
			c.Outages, c.PossibleDuplicates)
	}
	for _, conn := range c.Connections {
		if conn.Identity == "alice" && (conn.Sequence == nil || !conn.Sequence.Contiguous ||
			conn.Sequence.BeforeFirst != nil) {
			t.Errorf("alice: %+v", conn.Sequence)
		}
	}
	for _, m := range answer.Merged {
		if m.Only == 0 || m.Outages != 1 {
			t.Errorf("%+v: want packets that only it has, and one outage", m)
		}
	}
}
