// Package roomtest tests the LiveKit client of the service against real LiveKit servers, with
// LiveKit's own Go SDK as the sender.
package roomtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	protologger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

var versions = []string{"1.13.5", "1.11.0"}

// servers are shared by the tests that do not harm them. Rooms close a second after the last
// participant left.
var servers = map[string]*stack.LiveKit{}

// relays are servers with TURN. Their certificates are trusted by this process.
var relays = map[string]*stack.LiveKit{}

func TestMain(m *testing.M) {
	lksdk.SetLogger(protologger.GetDiscardLogger())
	// Tests that run side by side mostly wait, so more can run than there are processors. Too many
	// handshakes at once would take longer than the silences that the tests allow.
	flag.Parse()
	_ = flag.Set("test.parallel", "8")
	os.Exit(func() int {
		certs, err := os.MkdirTemp("", "textegress-roomtest-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(certs)
		for _, v := range versions {
			l, err := stack.StartLiveKit(context.Background(), options(v))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer l.Close()
			servers[v] = l
			o := options(v)
			o.TURN, o.CertDir = true, certs
			if l, err = stack.StartLiveKit(context.Background(), o); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer l.Close()
			relays[v] = l
		}
		// As an operator with a private certificate authority does it.
		_ = os.Setenv("SSL_CERT_FILE", filepath.Join(certs, "ca.pem"))
		return m.Run()
	}())
}

func options(version string) stack.LiveKitOptions {
	return stack.LiveKitOptions{
		Version: version, DepartureTimeout: time.Second,
		EmptyTimeout: time.Minute, LogLevel: "warn",
	}
}

// onEach runs a test on the shared server of each version.
func onEach(t *testing.T, test func(t *testing.T, l *stack.LiveKit)) {
	for _, v := range versions {
		t.Run(v, func(t *testing.T) { test(t, servers[v]) })
	}
}

// own starts a server for a test that harms it.
func own(t *testing.T, version string) *stack.LiveKit {
	t.Helper()
	l, err := stack.StartLiveKit(t.Context(), options(version))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// recording is a room.Handler that keeps what it gets.
type recording struct {
	mu      sync.Mutex
	info    room.Info
	packets []packet
	events  []room.Event
}

type packet struct {
	channel room.Channel
	*livekit.DataPacket
}

func (r *recording) Joined(i room.Info) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info = i
	return nil
}

func (r *recording) Packet(ch room.Channel, _ time.Time, b []byte) {
	p := &livekit.DataPacket{}
	if err := proto.Unmarshal(b, p); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, packet{ch, p})
}

func (r *recording) Event(e room.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// payloads returns the user payloads of one channel in order of arrival.
func (r *recording) payloads(ch room.Channel) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, p := range r.packets {
		if p.channel == ch {
			out = append(out, string(p.GetUser().GetPayload()))
		}
	}
	return out
}

func (r *recording) count(ch room.Channel) int { return len(r.payloads(ch)) }

func (r *recording) saw(t room.EventType, identity string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Type == t && e.Participant.Identity == identity {
			n++
		}
	}
	return n
}

func newClient(t testing.TB) *room.Client {
	t.Helper()
	c, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// record joins a room as a hidden recorder. url may be empty: the server's own.
func record(t testing.TB, c *room.Client, l *stack.LiveKit, url, name,
	identity string,
) (*room.Conn, *recording) {
	t.Helper()
	token, err := l.Token(identity, stack.RecorderGrants(name))
	if err != nil {
		t.Fatal(err)
	}
	if url == "" {
		url = l.URL
	}
	r := &recording{}
	conn, err := c.Join(context.Background(), room.JoinOptions{URL: url, Token: token, Handler: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Leave(context.Background()) })
	return conn, r
}

// sender is a participant who publishes data.
type sender struct {
	*lksdk.Room
	t testing.TB
}

func enter(t testing.TB, l *stack.LiveKit, name, identity string) *sender {
	t.Helper()
	token, err := l.Token(identity, stack.Grants(name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := lksdk.ConnectToRoomWithToken(l.URL, token, lksdk.NewRoomCallback(),
		lksdk.WithAutoSubscribe(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return &sender{r, t}
}

func (s *sender) send(reliable bool, payload []byte) {
	s.t.Helper()
	err := s.LocalParticipant.PublishDataPacket(lksdk.UserData(payload),
		lksdk.WithDataPublishReliable(reliable), lksdk.WithDataPublishTopic("topic"))
	if err != nil {
		s.t.Error(err)
	}
}

// numbered are the payloads "0" to "n-1".
func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 40 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func await(t testing.TB, c *room.Conn) room.Disconnect {
	t.Helper()
	select {
	case <-c.Done():
		return c.End()
	case <-time.After(60 * time.Second):
		t.Fatal("the connection did not end")
		return room.Disconnect{}
	}
}

// nobody fails unless a room is empty soon. The server keeps the ghost of somebody who left without
// a word for longer.
func nobody(t testing.TB, l *stack.LiveKit, name string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ps, err := l.Participants(context.Background(), name)
		if err == nil && len(ps) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d participants are left, %v", len(ps), err)
		}
	}
}

// noRoom fails unless the server has no room of that name. (A busy one says goodbye before it has
// forgotten a room. A room that is made again stays for longer than is waited here.)
func noRoom(t testing.TB, l *stack.LiveKit, name string) {
	t.Helper()
	eventually(t, "room "+name+" is gone", func() bool {
		r, err := l.Room(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		return r == nil
	})
}

// sameMessages is sameOrder without the order: a sender's lossy channel is unordered, and the first
// packets on it may overtake each other on their way to the server.
func sameMessages(t testing.TB, what string, got, want []string) {
	t.Helper()
	sameOrder(t, what, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

func sameOrder(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d received, %d sent, or not in order", what, len(got), len(want))
	}
}
