package stack

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/test/classroom"
)

// listener is a hidden recorder made of the SDK.
type listener struct {
	mu    sync.Mutex
	hears bool
	got   map[string][]classroom.Received
}

func listen(t *testing.T, room string) *listener {
	t.Helper()
	l := &listener{got: map[string][]classroom.Received{}}
	token, err := shared.LiveKit.Token("recorder", RecorderGrants(room))
	if err != nil {
		t.Fatal(err)
	}
	cb := lksdk.NewRoomCallback()
	cb.OnDataPacket = func(p lksdk.DataPacket, from lksdk.DataReceiveParams) {
		u, ok := p.(*lksdk.UserDataPacket)
		if !ok {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if u.Topic == "anybody there?" {
			l.hears = true
			return
		}
		// The SDK does not say by which channel it came; the tests below send everything reliably.
		l.got[from.SenderIdentity] = append(l.got[from.SenderIdentity],
			classroom.Received{Topic: u.Topic, Payload: u.Payload, Reliable: true})
	}
	r, err := lksdk.ConnectToRoomWithToken(shared.LiveKit.URL, token, cb,
		lksdk.WithAutoSubscribe(false), lksdk.WithLogger(logger.GetDiscardLogger()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	// Having joined, the SDK's data channels need not be open yet, and LiveKit drops unsequenced
	// packets until then.
	eventually(t, "the listener hears", func() bool {
		if err := shared.LiveKit.SendData(t.Context(), room, "anybody there?", true,
			nil); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.hears
	})
	return l
}

func (l *listener) from(id string) []classroom.Received {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got[id]
}

func TestClassIsHeardCompletely(t *testing.T) {
	ctx, p := t.Context(), shared.SyncFlow.Projects[0]
	x := start(t, p, "class")
	rec := listen(t, "class")
	c := shared.Class(p, x)
	c.Seed, c.Messages, c.Late, c.Rejoin, c.ServerMessages, c.Pause = 7, 60, 1, 1, 5,
		10*time.Millisecond
	rep, err := c.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Sent) != 4 || rep.Connections["learner-1"] != 2 ||
		rep.Connections["learner-3"] != 1 {
		t.Errorf("senders %d, connections %v", len(rep.Sent), rep.Connections)
	}
	for id, sent := range rep.Sent {
		if d := classroom.Compare(sent, rec.from(id)); !d.Faithful() {
			t.Errorf("%q: %v", id, d)
		}
	}
}

func TestLoad(t *testing.T) {
	ctx := t.Context()
	recs := []*listener{listen(t, "load-a"), listen(t, "load-b")}
	load, err := shared.LiveKit.StartLoad(ctx, classroom.Load{
		Rooms:   []string{"load-a", "load-b"},
		Senders: 2, Rate: 200, Messages: 100, Size: 300, Topic: "log",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer load.Close()
	if len(recs[0].from("load-1")) != 0 {
		t.Error("it sent before Go")
	}
	if err := load.Go(); err != nil {
		t.Fatal(err)
	}
	res, err := load.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Senders) != 4 || res.StartedUnixNS >= res.SentUnixNS ||
		res.SentUnixNS > res.DrainedUnixNS {
		t.Errorf("%+v", res)
	}
	for i, s := range res.Senders {
		got := recs[i/2].from(s.Identity)
		if s.Error != "" || s.Messages != 100 || s.Bytes != 100*300 || len(got) != 100 ||
			s.Room != fmt.Sprintf("load-%c", 'a'+i/2) {
			t.Errorf("%+v, received %d", s, len(got))
		}
	}
	if d, err := load.CPUTime(); err != nil || d == 0 {
		t.Errorf("CPU time %v, %v", d, err)
	}
}
