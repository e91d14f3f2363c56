package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// scarce gives SyncFlow as few database connections as the real one has, until the test ends.
func scarce(t *testing.T) {
	t.Helper()
	check(t, servers.SyncFlow.Limit(testContext(t), stack.SyncFlowLimits{}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		check(t, servers.SyncFlow.Limit(ctx, stack.Crowd))
	})
}

// enter has a learner join with a token that SyncFlow has not made.
func enter(t *testing.T, s stack.Session, identity string) *classroom.Learner {
	t.Helper()
	l := classroom.Enroll(identity, func(context.Context) (string, string, error) {
		token, err := servers.LiveKit.Token(identity, stack.Grants(s.LivekitRoomName))
		return servers.LiveKit.URL, token, err
	})
	check(t, l.Join(testContext(t)))
	return l
}

// Four sessions leave SyncFlow one database connection: the recorder is back in all of them at once
// after a kill and after a planned restart. With five it answers nothing any more. With LiveKit's
// key the fifth one is recorded as the others are, and all of them go on in the same way.
func TestAsManySessionsAsSyncFlowHasConnections(t *testing.T) {
	keys := []string{
		"PROJECTS__0__LIVEKIT__API_KEY=" + servers.LiveKit.APIKey,
		"PROJECTS__0__LIVEKIT__API_SECRET=" + servers.LiveKit.APISecret,
	}
	t.Run("four", func(t *testing.T) { crowd(t, 4) })
	t.Run("five, with LiveKit's key", func(t *testing.T) { crowd(t, 5, keys...) })
}

// crowd runs n sessions, and checks that the recorder continues all of them after a kill and after
// a planned restart.
func crowd(t *testing.T, n int, extra ...string) {
	ctx := testContext(t)
	r := record(t, extra...)
	scarce(t)
	p := servers.SyncFlow.Projects[0]
	check(t, r.Until(ctx, "the recorder is ready",
		func(st stack.RecorderStatus) bool { return st.Ready }))
	var all []stack.Session
	var learners []*classroom.Learner
	for i := range n {
		s := must(servers.SyncFlow.CreateSession(ctx, p, fmt.Sprintf("crowd-%d-%d", n, i),
			stack.DeviceGroup))(t)
		t.Cleanup(func() { _ = servers.SyncFlow.DeleteSession(context.Background(), p, s.ID) })
		all = append(all, s)
		began := time.Now()
		inRoom(t, r, s)
		t.Logf("session %d is joined after %v", i+1, time.Since(began).Round(time.Millisecond))
		l := enter(t, s, "alice")
		learners = append(learners, l)
		send(t, l, 10)
		recorded(t, r, s, 10)
	}
	check(t, stack.Poll(ctx, func() bool { // each has its connection
		c, err := servers.SyncFlow.Counters(ctx)
		return err == nil && len(c.Listening) == n && c.Connections >= n
	}))
	// back does something to the recorder, and waits until it is in all rooms again.
	back := func(what string, do func() error) {
		t.Helper()
		check(t, do())
		began := time.Now()
		check(t, r.Spawn())
		inRoom(t, r, all...)
		t.Logf("%s: in all rooms again after %v", what, time.Since(began).Round(time.Millisecond))
		for _, l := range learners {
			send(t, l, 10)
		}
	}
	back("kill -9", r.Kill)
	back("SIGTERM", func() error { return r.Stop(ctx) })

	// SyncFlow is started again: its listeners are gone, and with them what held its connections.
	check(t, servers.SyncFlow.Kill())
	check(t, servers.SyncFlow.Start(ctx))
	for i, s := range all {
		check(t, learners[i].Leave(ctx))
		end(t, p, s)
		ds := delivered(t, r, p, s, 2)
		for _, d := range ds {
			if m := d.Manifest(); m.Status != textegress.StatusComplete {
				t.Errorf("session %d, part %d: %s (%s)", i+1, m.Part, m.Status, m.Reason)
			}
		}
		got := received(t, ds...)["alice"]
		if d := classroom.Compare(learners[i].Sent(), got); !d.Faithful() {
			t.Errorf("session %d: %s", i+1, d)
		}
	}
}
