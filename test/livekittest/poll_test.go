package livekittest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// A room that somebody joins is announced within an interval, by its sid, and once; after it has
// closed, the next run of the room is another session.
func TestPoll(t *testing.T) {
	l := listen(t, "poll-*", true, false)
	began := time.Now()
	person, sid := enter(t, "poll-1", "alice")
	a := l.hears(sid)
	t.Logf("announced %v after the join began", time.Since(began).Round(time.Millisecond))
	if a.Room != "poll-1" || a.Source != "poll" || !a.Fresh() || !a.Limits.IsZero() {
		t.Errorf("%+v", a)
	}
	_, other := enter(t, "other", "alice")
	s := session.Session{ID: sid, Room: "poll-1"}
	if state, err := l.State(t.Context(), s); state != session.Running || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	if got, err := l.Session(t.Context(), "poll-1"); got.ID != sid || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if offset, known := l.ClockOffset(); !known || offset.Abs() > 2*time.Second {
		t.Errorf("the clock is %v ahead (%v)", offset, known)
	}
	person.Disconnect()
	gone(t, "poll-1")
	if state, err := l.State(t.Context(), s); state != session.Empty || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	_, again := enter(t, "poll-1", "alice")
	l.hears(again)
	if state, err := l.State(t.Context(), s); state != session.Replaced || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	if n := len(l.announced(sid)); n != 1 || again == sid || len(l.announced(other)) > 0 {
		t.Errorf("announced %d times; %s after %s", n, again, sid)
	}
}

// The metadata of a room overrides the patterns, also while the room is open.
func TestMetadata(t *testing.T) {
	l := listen(t, "metadata-*", true, false)
	_, sid := enter(t, "metadata-1", "alice")
	l.hears(sid)
	setMetadata(t, "metadata-1", `{"textegress":{"record":false}}`)
	eventually(t, "the room is withdrawn", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Contains(l.withdrawn, sid)
	})
	if state, err := l.State(t.Context(), session.Session{
		ID: sid, Room: "metadata-1",
	}); state != session.Ended || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	setMetadata(t, "metadata-1", `{"textegress":{"record":true}}`)
	eventually(t, "it is announced again", func() bool { return len(l.announced(sid)) == 2 })
	wanted := create(t, "wanted", `{"textegress":{"record":true,"topics":["chat"]}}`)
	if a := l.hears(wanted); !slices.Equal(a.Limits.Topics, []string{"chat"}) {
		t.Errorf("%+v", a)
	}
}

// 200 rooms that are created within a second do not wait for each other.
func TestManyRooms(t *testing.T) {
	l := listen(t, "many-*", true, false)
	began := time.Now()
	sids := make([]string, 200)
	var g errgroup.Group
	g.SetLimit(20)
	for i := range sids {
		g.Go(func() error {
			r, err := servers.LiveKit.CreateRoom(t.Context(), fmt.Sprint("many-", i))
			if err == nil {
				sids[i] = r.Sid
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	created := time.Since(began)
	for _, sid := range sids {
		l.hears(sid)
	}
	t.Logf("200 rooms were created in %v and announced %v after the first", created,
		time.Since(began))
}

// An unknown key and an unreachable server are different errors.
func TestKey(t *testing.T) {
	l := listen(t, "key-*", true, false)
	if p, err := l.Project(t.Context()); err != nil || p.Name != "school" ||
		p.LiveKitURL != servers.LiveKit.URL {
		t.Errorf("%+v, %v", p, err)
	}
	for _, wrong := range []livekit.Key{
		{ID: key().ID, Secret: "another secret 0123456789abcdef0123"},
		{ID: "APIother", Secret: key().Secret},
	} {
		l.SetKey(wrong)
		_, err := l.Project(t.Context())
		if !errors.Is(err, session.ErrUnauthorized) || !errors.Is(err, livekit.ErrKeyRefused) {
			t.Errorf("%v", err)
		}
	}
	eventually(t, "the source says so", func() bool { return !l.rooms.State().Connected })
	contains(t, l.rooms.State().LastError, "API key")
	l.SetKey(key())
	eventually(t, "the source lists again", func() bool { return l.rooms.State().Connected })
}

// A room that our own join created is neither running nor announced before a participant joins.
func TestOwnRoom(t *testing.T) {
	l := listen(t, "own-*", true, false)
	token, err := key().JoinToken("own-1", "textegress-own")
	if err != nil {
		t.Fatal(err)
	}
	client, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ours := &joiner{registry: l.Registry}
	conn, err := client.Join(t.Context(), room.JoinOptions{
		URL: servers.LiveKit.URL, Token: token, Handler: ours,
	})
	if err == nil {
		conn.Leave(t.Context())
	}
	if ours.sid == "" {
		t.Fatalf("we have not joined: %v", err)
	}
	s := session.Session{ID: ours.sid, Room: "own-1"}
	state, err := l.State(t.Context(), s)
	if state != session.Empty || err != nil {
		t.Errorf("%v, %v", state, err)
	}
	create(t, "own-2", "") // the list that has it has own-1, too
	found, err := l.Session(t.Context(), "own-2")
	if err != nil {
		t.Fatal(err)
	}
	l.hears(found.ID)
	if a := l.announced(ours.sid); len(a) > 0 {
		t.Errorf("announced: %+v", a)
	}
	if _, sid := enter(t, "own-1", "alice"); sid != ours.sid {
		t.Fatalf("the room has closed: %s, %s", sid, ours.sid)
	}
	l.hears(ours.sid)
}

// joiner joins a room as a recorder does.
type joiner struct {
	room.Handler

	registry *livekit.Registry
	sid      string
}

func (j *joiner) Joined(i room.Info) error {
	j.sid = j.registry.SessionOf(session.Room{SID: i.RoomSID, Metadata: i.RoomMetadata})
	return errors.New("another session")
}

// TestZRestart: the rooms of a restarted server are announced at once.
func TestZRestart(t *testing.T) {
	l := listen(t, "restart-*", true, false)
	if err := servers.LiveKit.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is noticed", func() bool { return !l.rooms.State().Connected })
	if err := servers.LiveKit.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, sid := enter(t, "restart-1", "alice")
	l.hears(sid)
	t.Logf("announced %v after the server was back", time.Since(began).Round(time.Millisecond))
}
