package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// Two projects, several sessions at once, learners that come late, leave and rejoin, messages
// through the server API: everything is recorded once, in order, and in its own bucket.
func TestSessionsOfTwoProjects(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	type class struct {
		p   stack.Project
		s   stack.Session
		rep classroom.Report
	}
	const learners = 3
	// Four sessions at once are too many for SyncFlow, which is another test's subject.
	check(t, servers.SyncFlow.Control(ctx, stack.Settings{Pool: 100}))
	var classes []*class
	for i, p := range servers.SyncFlow.Projects {
		for n := range 2 {
			classes = append(classes,
				&class{p: p, s: begin(t, p, fmt.Sprintf("two projects %d-%d", i, n))})
		}
	}
	for _, c := range classes {
		inRoom(t, r, c.s)
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(classes))
	for i, c := range classes {
		wg.Go(func() {
			plan := servers.Class(c.p, c.s)
			plan.Seed, plan.Learners, plan.Messages, plan.Late, plan.Rejoin,
				plan.ServerMessages = uint64(i), learners, 40, 1, 1, 10
			rep, err := plan.Run(ctx)
			c.rep = rep
			errs <- err
		})
	}
	wg.Wait()
	for range classes {
		check(t, <-errs)
	}
	for _, c := range classes {
		end(t, c.p, c.s)
	}
	for _, c := range classes {
		d := delivered(t, r, c.p, c.s, 1)
		faithful(t, c.rep, d...)
		m := d[0].Manifest()
		if m.Status != textegress.StatusComplete || m.Reason != "room_deleted" {
			t.Errorf("status %s (%s), want COMPLETE (room_deleted)", m.Status, m.Reason)
		}
		ms := messages(t, d...)
		// LiveKit tells a hidden participant of others' coming and going every three seconds, so a
		// short stay may go unnoticed; the messages carry the connection's sid all the same.
		if joined := count(ms, textegress.KindParticipantJoined); joined < learners {
			t.Errorf("%d participant_joined events, want at least %d", joined, learners)
		}
		sids := map[string]bool{}
		for _, m := range ms {
			if m.Kind == textegress.KindData && m.Identity == "learner-1" {
				sids[m.ParticipantSID] = true
			}
		}
		if len(sids) != 2 {
			t.Errorf("messages of learner-1, who joined twice, carry the sids %v", sids)
		}
		if n := count(ms, textegress.KindOutageStarted); n != 0 {
			t.Errorf("%d outages", n)
		}
		nobodyRemakes(t, c.s)
	}
}

// The predecessor's views: one text file per participant connection, its metadata keys first.
func TestViewsOfThePredecessor(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "views")
	inRoom(t, r, s)
	plan := servers.Class(p, s)
	plan.Learners, plan.Messages, plan.Contents = 2, 5, []classroom.Content{classroom.Text}
	rep := must(plan.Run(ctx))(t)
	end(t, p, s)
	d := delivered(t, r, p, s, 1)[0]
	want := p.Name + "-" + p.ID + "/views/text-egress/all-topics/" + d.Manifest().EgressID + "/"
	if d.Key != want {
		t.Errorf("delivered to %q, want %q", d.Key, want)
	}
	files := must(filepath.Glob(filepath.Join(d.Dir, "learner-1-all-topics-*UTC.txt")))(t)
	if len(files) != 1 {
		t.Fatalf("text views of learner-1: %v, want one", files)
	}
	lines := strings.Split(strings.TrimSuffix(string(must(os.ReadFile(files[0]))(t)), "\n"), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5: %q", len(lines), lines)
	}
	for i, line := range lines {
		parts := strings.SplitN(line, "|", 3)
		if len(parts) != 3 {
			t.Fatalf("line %q, want time|unix_ns|text", line)
		}
		if _, err := time.Parse("2006-01-02T15:04:05UTC", parts[0]); err != nil {
			t.Errorf("line %d: %v", i, err)
		}
		text := strings.NewReplacer("\n", `\n`, "\r",
			`\r`).Replace(string(rep.Sent["learner-1"][i].Payload))
		if parts[2] != text {
			t.Errorf("line %d has %q, want %q", i, parts[2], text)
		}
	}
	b := must(os.ReadFile(filepath.Join(d.Dir, "metadata.json")))(t)
	dec := json.NewDecoder(strings.NewReader(string(b)))
	var keys []string
	depth := 0
	for key := true; ; {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			key = true
			continue
		case string:
			if depth == 1 && key {
				keys = append(keys, v)
				key = false
				continue
			}
		}
		if depth == 1 {
			key = true
		}
	}
	if len(keys) < 4 || fmt.Sprint(keys[:4]) != "[room_name topic started_at ended_at]" {
		t.Errorf("metadata.json begins with the keys %v", keys)
	}
}

// Participants, rooms and payloads that break careless writers of paths, lines and logs.
func TestHostileNamesAndPayloads(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	identities := []string{
		"a/b", "..", "../../etc/passwd", "with space", "中文学生", strings.Repeat("n", 200),
		"x\x1b[31mred", "per%cent", `back\slash`,
	}
	s := begin(t, p, "../日本語 room/ %2e")
	inRoom(t, r, s)
	plan := servers.Class(p, s)
	plan.Learners, plan.Messages = len(identities), 12
	plan.Identity = func(i int) string { return identities[i] }
	plan.Lossy = 0.3
	rep := must(plan.Run(ctx))(t)
	end(t, p, s)
	d := delivered(t, r, p, s, 1)
	faithful(t, rep, d...)
	// Nothing outside its place: all objects of the bucket are below the project's prefix.
	for _, key := range must(servers.S3.Keys(ctx, p.Bucket, ""))(t) {
		if !strings.HasPrefix(key, textegress.EscapeName(p.Name+"-"+p.ID)+"/") ||
			strings.Contains(key, "/../") || strings.ContainsAny(key, "\x1b\n") {
			t.Errorf("object key %q", key)
		}
	}
}

// A session that is announced while the recorder is down is recorded when it is up again; one that
// ended meanwhile is delivered as ABORTED, without messages and without its room coming back.
func TestAnnouncedWhileDown(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	check(t, r.Stop(ctx))
	runs, over := begin(t, p, "runs"), begin(t, p, "over")
	end(t, p, over)
	check(t, r.Start(ctx))
	inRoom(t, r, runs)
	rep := must(servers.Class(p, runs).Run(ctx))(t)
	end(t, p, runs)
	faithful(t, rep, delivered(t, r, p, runs, 1)...)
	d := delivered(t, r, p, over, 1)[0]
	if m := d.Manifest(); m.Status != textegress.StatusAborted {
		t.Errorf("the session that ended: %s (%s), want ABORTED", m.Status, m.Reason)
	}
	if got := received(t, d); len(got) != 0 {
		t.Errorf("the session that ended has messages: %v", got)
	}
	nobodyRemakes(t, over)
}

// Whatever stands in the queue, the next real announcement is heard; a repeated one changes
// nothing.
func TestMalformedAndRepeatedAnnouncements(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	for _, body := range []string{
		"", "{", "null", "[]",
		`{"sessionId":"../../x","sessionName":"y"}`, `{"sessionId":7}`, "\xff\xfe",
		strings.Repeat("x", 1<<20),
	} {
		check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup, []byte(body)))
	}
	s := begin(t, p, "after the noise")
	for range 3 {
		check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
			stack.Announcement(s.ID, s.LivekitRoomName)))
	}
	inRoom(t, r, s)
	rep := must(servers.Class(p, s).Run(ctx))(t)
	end(t, p, s)
	check(t, servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
		stack.Announcement(s.ID, s.LivekitRoomName)))
	faithful(t, rep, delivered(t, r, p, s, 1)...)
	next := begin(t, p, "the next one")
	inRoom(t, r, next)
	end(t, p, next)
	delivered(t, r, p, next, 1)
	if got := must(servers.Delivered(p, s.ID))(t); len(got) != 1 {
		t.Errorf("%d recordings of the session that was announced five times", len(got))
	}
}

// The others do not see the recorder; it takes no seat.
func TestHidden(t *testing.T) {
	ctx := testContext(t)
	r := record(t)
	p := servers.SyncFlow.Projects[0]
	s := begin(t, p, "hidden")
	inRoom(t, r, s)
	l := classroom.Enroll("alice", stackTokens(p, s, "alice"))
	check(t, l.Join(ctx))
	if others := l.Room().GetRemoteParticipants(); len(others) != 0 {
		for _, o := range others {
			t.Errorf("alice sees %q", o.Identity())
		}
	}
	room := must(servers.LiveKit.Room(ctx, s.LivekitRoomName))(t)
	if !room.ActiveRecording {
		t.Error("the room does not count as being recorded: the token has no recorder grant")
	}
	hidden := 0
	for _, info := range must(servers.LiveKit.Participants(ctx, s.LivekitRoomName))(t) {
		if strings.HasPrefix(info.Identity, "textegress-") {
			hidden++
			if !info.Permission.Hidden || !info.Permission.Recorder || info.Permission.CanPublish ||
				info.Permission.CanPublishData {
				t.Errorf("our permissions: %v", info.Permission)
			}
			if info.IsPublisher {
				t.Error("we count as a publisher")
			}
		}
	}
	if hidden != 1 {
		t.Errorf("%d recorders in the room, want 1", hidden)
	}
	check(t, l.Leave(ctx))
	end(t, p, s)
	delivered(t, r, p, s, 1)
}

func stackTokens(p stack.Project, s stack.Session, identity string) func(context.Context) (
	string, string, error) {
	return func(ctx context.Context) (string, string, error) {
		token, url, err := servers.SyncFlow.JoinToken(ctx, p, s, identity)
		return url, token, err
	}
}

// A session nobody announced is pointed out, and recorded on request.
func TestRecordOnRequest(t *testing.T) {
	ctx := testContext(t)
	p := servers.SyncFlow.Projects[1]
	s := must(servers.SyncFlow.CreateSession(ctx, p, "on request"))(t)
	r := record(t)
	check(t, r.Until(ctx, "the session is pointed out", func(st stack.RecorderStatus) bool {
		for _, pr := range st.Projects {
			for _, u := range pr.UnrequestedSessions {
				if u.SessionID == s.ID {
					return true
				}
			}
		}
		return false
	}))
	stdout, stderr, code, err := r.CLI(ctx, "record", s.ID)
	check(t, err)
	if code != 0 || !strings.Contains(stdout, "DE_") {
		t.Fatalf("record: exit code %d\n%s%s", code, stdout, stderr)
	}
	inRoom(t, r, s)
	rep := must(servers.Class(p, s).Run(ctx))(t)
	end(t, p, s)
	faithful(t, rep, delivered(t, r, p, s, 1)...)
}

// RECORD_SESSIONS=all records what runs, announced or not.
func TestRecordAll(t *testing.T) {
	ctx := testContext(t)
	p := servers.SyncFlow.Projects[1]
	s := must(servers.SyncFlow.CreateSession(ctx, p, "all"))(t)
	r := record(t, "RECORD_SESSIONS=all")
	inRoom(t, r, s)
	end(t, p, s)
	delivered(t, r, p, s, 1)
}
