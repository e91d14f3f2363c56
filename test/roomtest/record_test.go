package roomtest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// Every message arrives, in the sender's order, with its sender; and nobody sees us.
func TestEveryMessage(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		const name, n, big = "every message", 2000, 20
		early := enter(t, l, name, "early")
		conn, r := record(t, newClient(t), l, "", name, "recorder")
		late := enter(t, l, name, "late")
		for i := range n {
			late.send(true, fmt.Append(nil, i))
			early.send(false, fmt.Append(nil, i))
			if i%50 == 0 { // the senders' own buffers drop lossy packets when they are full
				eventually(t, "the senders keep pace",
					func() bool { return r.count(room.Lossy) >= i-200 })
			}
		}
		eventually(t, "all messages", func() bool {
			return r.count(room.Reliable) == n &&
				r.count(room.Lossy) == n
		})
		sameOrder(t, "reliable", r.payloads(room.Reliable), numbered(n))
		sameMessages(t, "lossy", r.payloads(room.Lossy), numbered(n))

		payload := bytes.Repeat([]byte{0, 0xff, '\n'}, 20_000)
		for range big {
			late.send(true, payload)
		}
		eventually(t, "large messages", func() bool { return r.count(room.Reliable) == n+big })
		for _, p := range r.payloads(room.Reliable)[n:] {
			if p != string(payload) {
				t.Fatal("a message of 60 kB is not what was sent")
			}
		}
		for _, p := range r.packets {
			want := map[room.Channel]string{room.Reliable: "late", room.Lossy: "early"}[p.channel]
			if p.ParticipantIdentity != want || p.ParticipantSid == "" ||
				p.GetUser().GetTopic() != "topic" {
				t.Fatalf("packet of %q, sid %q, topic %q", p.ParticipantIdentity, p.ParticipantSid,
					p.GetUser().GetTopic())
			}
		}

		if others := late.GetRemoteParticipants(); len(others) != 1 ||
			others[0].Identity() != "early" {
			t.Errorf("the other participants see %d others", len(others))
		}
		lr, err := l.Room(context.Background(), name)
		if err != nil || lr == nil {
			t.Fatal(lr, err)
		}
		if r.info.RoomSID != lr.Sid || r.info.RoomName != name || r.info.Identity != "recorder" ||
			r.info.ServerVersion != l.Version ||
			r.info.RoomCreated.IsZero() || len(r.info.Participants) != 1 ||
			r.info.Participants[0].Identity != "early" {
			t.Errorf("info %+v, room %v", r.info, lr)
		}
		eventually(t, "clock", func() bool { return r.saw(room.ClockMeasured, "") == 1 })
		if off := conn.ClockOffset(); off < -time.Second || off > time.Second {
			t.Errorf("clock offset to this machine: %v", off)
		}
		late.Disconnect()
		eventually(t, "the leaver", func() bool { return r.saw(room.ParticipantLeft, "late") == 1 })
		if r.saw(room.ParticipantJoined, "late") != 1 || r.saw(room.ParticipantJoined,
			"early") != 0 || r.saw(room.ParticipantJoined, "recorder") != 0 {
			t.Errorf("events %+v", r.events)
		}
		conn.Leave(context.Background())
		ps, err := l.Participants(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			if p.Identity == "recorder" {
				t.Error("the server keeps our ghost")
			}
		}
	})
}

// What is sent through the server API has no sender and no sequence number, and arrives.
func TestServerAPIMessage(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		_, r := record(t, newClient(t), l, "", "server api", "recorder")
		// A server that has not yet seen our channels open drops such packets, so the first one may
		// be lost.
		eventually(t, "the message", func() bool {
			if err := l.SendData(context.Background(), "server api", "topic", true,
				[]byte("hello")); err != nil {
				t.Fatal(err)
			}
			return r.count(room.Reliable) > 0
		})
	})
}

// A lost websocket costs no packet, in whichever way it is lost.
func TestWebsocketLost(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		t.Parallel()
		const name = "websocket lost"
		p := newProxy(t, l.URL)
		conn, r := record(t, newClient(t), l, p.url, name, "recorder")
		s := enter(t, l, name, "sender")
		visitor := enter(t, l, name, "visitor")
		stop := make(chan struct{})
		var sending sync.WaitGroup
		n := 0
		sending.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					s.send(true, fmt.Append(nil, n))
					s.send(false, fmt.Append(nil, n))
					n++
				}
			}
		})
		for i := range 3 {
			p.cut()
			eventually(t, "loss", func() bool { return r.saw(room.SignalLost, "") == i+1 })
			eventually(t, "resume", func() bool { return r.saw(room.SignalResumed, "") == i+1 })
		}
		// Longer, with a participant who leaves and one who comes meanwhile.
		p.close()
		p.cut()
		eventually(t, "loss", func() bool { return r.saw(room.SignalLost, "") == 4 })
		visitor.Disconnect()
		enter(t, l, name, "newcomer")
		before := r.count(room.Reliable)
		eventually(t, "packets without a websocket",
			func() bool { return r.count(room.Reliable) > before+500 })
		p.open(t)
		eventually(t, "who came and went", func() bool {
			return r.saw(room.ParticipantLeft, "visitor") == 1 &&
				r.saw(room.ParticipantJoined, "newcomer") == 1
		})
		close(stop)
		sending.Wait()
		eventually(t, "all messages", func() bool {
			return r.count(room.Reliable) == n &&
				r.count(room.Lossy) == n
		})
		sameOrder(t, "reliable", r.payloads(room.Reliable), numbered(n))
		sameMessages(t, "lossy", r.payloads(room.Lossy), numbered(n))
		select {
		case <-conn.Done():
			t.Errorf("ended: %v", conn.End())
		default:
		}
		t.Logf("%d messages of each kind, 4 losses of the websocket", n)
	})
}

// A server that stands still for 12 s loses nothing: neither side has given the connection up.
func TestServerStalls(t *testing.T) {
	t.Parallel()
	l := own(t, "1.13.5")
	conn, r := record(t, newClient(t), l, "", "stall", "recorder")
	s := enter(t, l, "stall", "sender")
	const n = 1000
	for i := range n {
		if i == n/2 {
			if err := l.Pause(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(12*time.Second, func() { _ = l.Resume() })
		}
		s.send(true, fmt.Append(nil, i))
	}
	eventually(t, "all messages", func() bool { return r.count(room.Reliable) == n })
	sameOrder(t, "reliable", r.payloads(room.Reliable), numbered(n))
	select {
	case <-conn.Done():
		t.Errorf("ended: %v", conn.End())
	default:
	}
}

// Joining and leaving leaves nothing behind, here or on the server.
func TestJoinAndLeave100Times(t *testing.T) {
	const name = "join and leave"
	l, c := servers["1.13.5"], newClient(t)
	if _, err := l.CreateRoom(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		ps, err := l.Participants(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		return len(ps)
	}
	conn, _ := record(t, c, l, "", name, "warm-up")
	conn.Leave(context.Background())
	left()
	before := 0
	eventually(t, "a steady number of goroutines", func() bool {
		now := runtime.NumGoroutine()
		steady := now == before
		before = now
		return steady && !strings.Contains(stacks(), "github.com/pion")
	})
	for i := range 100 {
		conn, r := record(t, c, l, "", name, fmt.Sprintf("recorder-%d", i))
		conn.Leave(context.Background())
		if conn.End().Reason != room.ReasonLeft || r.info.RoomSID == "" {
			t.Fatalf("end %v", conn.End())
		}
		eventually(t, "the end of all our goroutines",
			func() bool { return !strings.Contains(stacks(), "textegress/internal/room.") })
	}
	eventually(t, "as few goroutines as before",
		func() bool { return runtime.NumGoroutine() <= before })
	if n := left(); n != 0 {
		t.Errorf("%d participants are left", n)
	}
}

func stacks() string {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	return b.String()
}
