package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/livekit"
)

const projectID = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"

// fakeRooms is a LiveKit that takes its time.
type fakeRooms struct {
	mu    sync.Mutex
	rooms map[string]*fakeRoom
}

type fakeRoom struct {
	livekit.Room
	gone chan struct{} // of the listener
}

const liveKitTime = 5 * time.Millisecond

func (f *fakeRooms) call(do func()) {
	time.Sleep(liveKitTime)
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeRooms) ListRooms(_ context.Context,
	r *livekit.ListRoomsRequest,
) (*livekit.ListRoomsResponse, error) {
	out := &livekit.ListRoomsResponse{}
	f.call(func() {
		if room := f.rooms[r.Names[0]]; room != nil {
			out.Rooms = append(out.Rooms, &livekit.Room{Name: room.Name, Metadata: room.Metadata})
		}
	})
	return out, nil
}

func (f *fakeRooms) CreateRoom(_ context.Context, r *livekit.CreateRoomRequest) (*livekit.Room,
	error,
) {
	room := &fakeRoom{gone: make(chan struct{})}
	room.Name = r.Name
	f.call(func() { f.rooms[r.Name] = room })
	return &livekit.Room{Name: r.Name}, nil
}

func (f *fakeRooms) UpdateRoomMetadata(_ context.Context, r *livekit.UpdateRoomMetadataRequest) (
	*livekit.Room, error,
) {
	f.call(func() { f.rooms[r.Room].Metadata = r.Metadata })
	return &livekit.Room{}, nil
}

func (f *fakeRooms) ListParticipants(context.Context,
	*livekit.ListParticipantsRequest,
) (*livekit.ListParticipantsResponse, error) {
	f.call(func() {})
	return &livekit.ListParticipantsResponse{}, nil
}

func (f *fakeRooms) DeleteRoom(_ context.Context,
	r *livekit.DeleteRoomRequest,
) (*livekit.DeleteRoomResponse, error) {
	var err error
	f.call(func() {
		room := f.rooms[r.Room]
		if room == nil {
			err = errors.New("requested room does not exist")
			return
		}
		close(room.gone)
		delete(f.rooms, r.Room)
	})
	return &livekit.DeleteRoomResponse{}, err
}

func (f *fakeRooms) Join(token string) (<-chan struct{}, func(), error) {
	var claims struct {
		jwt.RegisteredClaims
		Video struct{ Room string }
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return nil, nil, err
	}
	var gone chan struct{}
	f.call(func() {
		if room := f.rooms[claims.Video.Room]; room != nil {
			gone = room.gone
		}
	})
	if gone == nil {
		return nil, nil, errors.New("no such room")
	}
	return gone, func() {}, nil
}

// api is a server in a bubble of synctest, with the real limits and times.
type api struct {
	*Server
	t *testing.T
}

func newAPI(t *testing.T) api {
	t.Helper()
	s, err := New(t.Context(), Config{
		Dir: t.TempDir(), VHost: "v", LiveKitKey: "key", LiveKitSecret: "secret",
		Users: []User{{ID: 1}},
		Projects: []Project{{
			ID: projectID, UserID: 1,
			Keys: []APIKey{{Key: "key", Secret: "secret"}},
		}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.rooms = &fakeRooms{rooms: map[string]*fakeRoom{}}
	t.Cleanup(func() { time.Sleep(time.Minute) }) // listeners still write to the folder
	return api{s, t}
}

func (a api) projectToken() string {
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "key", "projectId": projectID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte("secret"))
	if err != nil {
		a.t.Error(err)
	}
	return token
}

const closed = -1 // the status of a request whose connection was closed

// ask makes a request on a client's connection.
func (a api) ask(conn context.Context, method, path, body string) (status int, answer string,
	took time.Duration,
) {
	began := time.Now()
	r := httptest.NewRequestWithContext(conn, method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+a.projectToken())
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	defer func() {
		took = time.Since(began)
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			status = closed
		default:
			panic(p)
		}
	}()
	a.ServeHTTP(w, r)
	return w.Code, w.Body.String(), 0
}

func (a api) dial() context.Context { return a.ConnContext(context.Background(), nil) }

func sessionPath(rest string) string { return "/projects/" + projectID + rest }

// begin makes n sessions, whose listeners are in their rooms when it returns.
func (a api) begin(n int) (ids []string) {
	a.t.Helper()
	for i := range n {
		name := fmt.Sprintf("room-%d", i)
		if status, body, _ := a.ask(a.dial(), "POST", sessionPath("/create-session"),
			`{"name":"`+name+`"}`); status != 200 {
			a.t.Fatalf("session %d: %d %s", i+1, status, body)
		}
		time.Sleep(time.Second)
	}
	for _, x := range a.state.sessions(projectID) {
		ids = append(ids, x.ID)
	}
	if got := len(a.listening()); got != n {
		a.t.Fatalf("%d rooms have a listener, want %d", got, n)
	}
	return ids
}

func tokenRequest(room string) string {
	return `{"identity":"i","videoGrants":{"roomCreate":false,"roomList":false,"roomRecord":false,"roomAdmin":false,
		"roomJoin":true,"room":"` + room + `","canPublish":false,"canSubscribe":true,"canPublishData":false,"canPublishSources":[],
		"canUpdateOwnMetadata":false,"ingressAdmin":false,"hidden":true,"recorder":true}}`
}

func (a api) hook() (status int, answer string, took time.Duration) {
	return a.ask(a.dial(), "GET", "/rmq/auth/vhost?vhost=v&ip=i&username="+a.projectToken(), "")
}

// With a number of running sessions each endpoint answers at once or not at all.
func TestPoolByRunningSessions(t *testing.T) {
	const stall = 30 * time.Second
	for running, want := range map[int]struct{ session, others int }{
		3: {200, 200},
		4: {closed, 200}, 5: {closed, closed},
	} {
		t.Run(fmt.Sprint(running), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				ids := a.begin(running)
				one := sessionPath("/sessions/" + ids[0])
				for _, r := range []struct {
					method, path, body string
					want               int
				}{
					{"GET", one, "", want.session},
					{"POST", one + "/token", tokenRequest("room-0"), want.others},
					{"GET", one + "/participants", "", want.others},
					{"GET", sessionPath("/sessions"), "", want.others},
					{"GET", sessionPath(""), "", want.others},
					{
						"GET", "/rmq/auth/vhost?vhost=v&ip=i&username=" + a.projectToken(), "",
						want.others,
					},
					{"POST", one + "/stop", "{}", want.others},
				} {
					status, body, took := a.ask(a.dial(), r.method, r.path, r.body)
					if status != r.want {
						t.Errorf("%s %s: %d %s, want %d", r.method, r.path, status, body, r.want)
					}
					if stalled := took >= stall; stalled != (r.want == closed) ||
						took > stall+time.Second {
						t.Errorf("%s %s took %v", r.method, r.path, took)
					}
				}
			})
		})
	}
}

// Who waits for a second connection keeps everybody else waiting, RabbitMQ too. Afterwards all is
// as before.
func TestStallIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		ids := a.begin(4)
		var wg sync.WaitGroup
		wg.Go(func() { a.ask(a.dial(), "GET", sessionPath("/sessions/"+ids[0]), "") })
		time.Sleep(time.Second)
		var tookToken, tookHook time.Duration
		wg.Go(func() {
			var status int
			if status, _, tookToken = a.ask(a.dial(), "POST",
				sessionPath("/sessions/"+ids[1]+"/token"), tokenRequest("room-1")); status != 200 {
				t.Errorf("token: %d", status)
			}
		})
		wg.Go(func() {
			var status int
			if status, _, tookHook = a.hook(); status != 200 {
				t.Errorf("hook: %d", status)
			}
		})
		wg.Wait()
		if tookToken < 28*time.Second || tookHook < 28*time.Second {
			t.Errorf("token after %v, hook after %v: they did not wait", tookToken, tookHook)
		}
		if status, _, took := a.hook(); status != 200 || took > time.Second {
			t.Errorf("afterwards: %d after %v", status, took)
		}
	})
}

// One free connection, two lists: on one thread the second wait keeps the first handler from going
// on, on two it does not.
func TestWaitBlocksTheThread(t *testing.T) {
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.begin(4)
			first, second := a.dial(), a.dial()
			if same {
				one := first.Value(clientKey{}).(*client)
				second.Value(clientKey{}).(*client).thread = one.thread
			}
			var status [2]int
			var took [2]time.Duration
			var wg sync.WaitGroup
			list := sessionPath("/sessions")
			wg.Go(func() { status[0], _, took[0] = a.ask(first, "GET", list, "") })
			time.Sleep(10 * time.Millisecond) // it waits for LiveKit
			wg.Go(func() { status[1], _, took[1] = a.ask(second, "GET", list, "") })
			wg.Wait()
			stalled := took[0] >= 29*time.Second
			if stalled != same || status[0] != 200 {
				t.Errorf("same thread %v: the first list answered %d after %v", same, status[0],
					took[0])
			}
			if (status[1] == closed) != same {
				t.Errorf("same thread %v: the second list answered %d after %v", same, status[1],
					took[1])
			}
		})
	}
}

// A thread that was blocked finds its timers run out before it finds what has arrived: 408 for the
// first request of a connection, nothing for a later one.
func TestTimersOfABlockedThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		ids := a.begin(4)
		conn := a.dial()
		idle, unseen := a.dial(), a.dial()
		for _, c := range []context.Context{idle, unseen} {
			c.Value(clientKey{}).(*client).thread = conn.Value(clientKey{}).(*client).thread
		}
		unseen.Value(clientKey{}).(*client).looked = time.Time{}
		kept := a.dial()
		kept.Value(clientKey{}).(*client).thread = conn.Value(clientKey{}).(*client).thread
		if status, _, _ := a.ask(kept, "GET", sessionPath(""), ""); status != 200 {
			t.Fatalf("before: %d", status)
		}
		var wg sync.WaitGroup
		wg.Go(func() { a.ask(conn, "GET", sessionPath("/sessions/"+ids[0]), "") })
		time.Sleep(time.Second)
		for c, want := range map[context.Context]int{idle: 408, unseen: 200, kept: closed} {
			wg.Go(func() {
				if status, _, took := a.ask(c, "GET", sessionPath(""), ""); status != want ||
					took < 28*time.Second || took > 30*time.Second {
					t.Errorf("%d after %v, want %d", status, took, want)
				}
			})
		}
		wg.Wait()
	})
}

// The connection of a session is free again a second after its listener has left the room, whatever
// ended its stay.
func TestListenerGivesItsConnectionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		ids := a.begin(3)
		if n := a.pool.inUse(); n != 3 {
			t.Fatalf("%d connections in use, want 3", n)
		}
		rooms := a.rooms.(*fakeRooms)
		rooms.mu.Lock()
		close(rooms.rooms["room-0"].gone) // it was removed; the room lives
		rooms.mu.Unlock()
		time.Sleep(2 * time.Second)
		if n := a.pool.inUse(); n != 2 {
			t.Errorf("%d connections in use, want 2", n)
		}
		x, err := a.state.session(projectID, ids[0])
		if err != nil || x.Status != Stopped {
			t.Errorf("%+v, %v", x, err)
		}
	})
}

// Twenty sessions at once are more than the API can do: the real one answered two, after 94
// seconds.
func TestBurstOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		var mu sync.Mutex
		answers := map[int]int{}
		for i := range 20 {
			conn := a.dial()
			conn.Value(clientKey{}).(*client).looked = time.Time{} // its request is there already
			go func() {
				status, _, took := a.ask(conn, "POST", sessionPath("/create-session"),
					fmt.Sprintf(`{"name":"room-%d"}`, i))
				mu.Lock()
				defer mu.Unlock()
				answers[status]++
				t.Logf("%d: %d after %v", i, status, took)
			}()
		}
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if answers[closed] < 10 || answers[200] > 10 {
			t.Errorf("answers %v, want most closed", answers)
		}
		if n := a.pool.inUse(); n != 5 {
			t.Errorf("%d connections in use, want all 5", n)
		}
	})
}
