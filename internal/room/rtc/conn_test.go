package rtc_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/syncflow/textegress/internal/room/rtc"
	"github.com/syncflow/textegress/internal/room/rtc/rtctest"
)

// quick timeouts notice a silent path soon.
var quick = rtc.Timeouts{
	Disconnected: 500 * time.Millisecond, Failed: 15 * time.Second,
	Keepalive: 50 * time.Millisecond,
}

// client is a connection with what it has delivered.
type client struct {
	*rtc.Conn
	t *testing.T

	mu       sync.Mutex
	messages map[rtc.Channel][]string
	block    func(rtc.Channel) // in each delivery
}

func newClient(t *testing.T, o rtc.Options) *client {
	t.Helper()
	o.Timeouts = quick
	api, err := rtc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, messages: map[rtc.Channel][]string{}}
	c.Conn, err = api.NewConn(t.Context(), "127.0.0.1",
		func(ch rtc.Channel, _ time.Time, b []byte) {
			c.mu.Lock()
			block := c.block
			c.mu.Unlock()
			if block != nil {
				block(ch)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.messages[ch] = append(c.messages[ch], string(b))
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// connect makes a connection to a server and waits until it is open.
func connect(t *testing.T) (*client, *rtctest.Server, *rtctest.Peer) {
	t.Helper()
	noneLeft(t)
	s := rtctest.NewServer(t, quick)
	p, c := s.NewPeer(t), newClient(t, rtc.Options{})
	c.exchange(p, func(sdp string) string { return sdp })
	c.await(rtc.Opened)
	return c, s, p
}

// noneLeft checks that everything that a test has started ends by itself.
func noneLeft(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
}

// exchange makes an offer and passes on the answer, changed.
func (c *client) exchange(p *rtctest.Peer, change func(string) string) rtc.Offer {
	c.t.Helper()
	o, err := c.Offer(c.t.Context(), time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.Answer(o.ID, change(p.Answer(o.SDP))); err != nil {
		c.t.Fatal(err)
	}
	return o
}

// await returns the next event of a kind.
func (c *client) await(kind rtc.EventKind) rtc.Event {
	c.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e := <-c.Events():
			if e.Kind == kind {
				return e
			}
			if e.Kind == rtc.Failed {
				c.t.Fatalf("failed: %s", e.Cause)
			}
		case <-limit:
			c.t.Fatalf("no event of kind %d in a minute", kind)
		}
	}
}

func (c *client) blockBy(f func(rtc.Channel)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.block = f
}

func (c *client) received(ch rtc.Channel) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages[ch])
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Messages are bytes, of any size that a sender can get through a server and more, and each channel
// keeps its order.
func TestMessages(t *testing.T) {
	c, _, p := connect(t)
	want := map[rtc.Channel][]string{}
	for i, size := range []int{
		1, 2047, 2048, 2049, 15_000, 65_535, 65_536, 70_000, 200_000, 3, 60_000,
	} {
		for _, ch := range []rtc.Channel{rtc.Reliable, rtc.Lossy} {
			b := bytes.Repeat([]byte{byte(i + 1)}, size)
			want[ch] = append(want[ch], string(b))
			p.Send(ch.String(), b)
		}
	}
	p.Send("_reliable", nil)
	want[rtc.Reliable] = append(want[rtc.Reliable], "")
	for ch := range want {
		eventually(t, "all messages", func() bool { return len(c.received(ch)) == len(want[ch]) })
		if !slices.Equal(c.received(ch), want[ch]) {
			t.Errorf("%s differs", ch)
		}
	}
}

// The server sends with the reliability that we declare.
func TestChannelsAreReliable(t *testing.T) {
	_, _, p := connect(t)
	for _, label := range []string{"_reliable", "_lossy", "_data_track"} {
		dc := p.Channel(label)
		if !dc.Ordered() || dc.MaxRetransmits() != nil || dc.MaxPacketLifeTime() != nil {
			t.Errorf("%s is not ordered and reliable", label)
		}
	}
}

// A channel that the server opens is read: data tracks are delivered, anything else is discarded,
// and neither stops the others.
func TestChannelsOfTheServer(t *testing.T) {
	c, _, p := connect(t)
	const n = 3 * (4 << 20) / 60_000 // more than the receive window, which all channels share
	opened := make(chan struct{}, 2)
	for _, label := range []string{"_data_track", "surprise"} {
		dc, err := p.PC.CreateDataChannel(label, nil)
		if err != nil {
			t.Fatal(err)
		}
		dc.OnOpen(func() {
			raw, err := dc.Detach()
			if err != nil {
				t.Error(err)
			}
			for range n {
				if _, err := raw.Write(make([]byte, 60_000)); err != nil {
					t.Errorf("%s: %v", label, err)
				}
			}
			opened <- struct{}{}
		})
	}
	<-opened
	<-opened
	p.Send("_reliable", []byte("still here"))
	// SCTP takes turns between the streams: the reliable message may overtake those of the others.
	eventually(t, "the message", func() bool { return len(c.received(rtc.Reliable)) == 1 })
	eventually(t, "the data track", func() bool { return len(c.received(rtc.DataTrack)) == n })
}

func TestChannelClosedByServer(t *testing.T) {
	c, _, p := connect(t)
	_ = p.Channel("_lossy").Close()
	if e := c.await(rtc.Failed); !strings.Contains(e.Cause, "_lossy") {
		t.Errorf("cause %q", e.Cause)
	}
}

// A delivery that does not return stops its channel and no other; Close waits for it.
func TestBlockedDelivery(t *testing.T) {
	c, _, p := connect(t)
	release := make(chan struct{})
	c.blockBy(func(ch rtc.Channel) {
		if ch == rtc.Reliable {
			<-release
		}
	})
	p.Send("_reliable", []byte("stuck"))
	p.Send("_lossy", []byte("through"))
	eventually(t, "the other channel", func() bool { return len(c.received(rtc.Lossy)) == 1 })
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("closed, but the delivery has not returned")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	<-closed
	if got := c.received(rtc.Reliable); len(got) != 1 {
		t.Errorf("received %q", got)
	}
}

// What had arrived before is delivered by Drain and Close, and nothing after Close.
func TestClose(t *testing.T) {
	c, _, p := connect(t)
	const n = 500
	release := make(chan struct{})
	c.blockBy(func(rtc.Channel) { <-release })
	for i := range n {
		p.Send("_reliable", fmt.Appendf(nil, "%d", i))
	}
	eventually(t, "sent", func() bool { return p.Channel("_reliable").BufferedAmount() == 0 })
	p.Close()
	close(release)
	c.Drain(100*time.Millisecond, time.Minute)
	c.Close()
	if got := len(c.received(rtc.Reliable)); got != n {
		t.Errorf("%d of %d messages", got, n)
	}
	var late atomic.Bool
	c.blockBy(func(rtc.Channel) { late.Store(true) })
	_ = p.Channel("_reliable").Send([]byte("late"))
	if late.Load() {
		t.Error("delivered after Close")
	}
}

// A server whose certificate is not the one of its answer is somebody else.
func TestFingerprintMismatch(t *testing.T) {
	noneLeft(t)
	p, c := rtctest.NewServer(t, quick).NewPeer(t), newClient(t, rtc.Options{})
	c.exchange(p, func(sdp string) string {
		i := strings.Index(sdp, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
		return sdp[:i] + map[bool]string{true: "01", false: "00"}[sdp[i:i+2] == "00"] + sdp[i+2:]
	})
	if e := c.await(rtc.Failed); !strings.Contains(e.Cause, "DTLS") {
		t.Errorf("cause %q", e.Cause)
	}
	if s := c.Status(); s.Open || !s.Answered {
		t.Errorf("status %+v", s)
	}
}

func ufrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	u, _, _ := strings.Cut(rest, "\r\n")
	return u
}

// The path falls silent: another offer makes a new one, and messages sent meanwhile arrive over it.
func TestICERestart(t *testing.T) {
	c, s, p := connect(t)
	p.Send("_reliable", []byte("before"))
	eventually(t, "the message", func() bool { return len(c.received(rtc.Reliable)) == 1 })
	before := c.Status()
	s.Dark.Store(true)
	p.Send("_reliable", []byte("in the dark"))
	c.await(rtc.PathSilent)
	if now := c.Status(); now.SilentSince.IsZero() ||
		now.SilentSince.After(before.LastReceived.Add(time.Second)) {
		t.Errorf("silent since %v, heard before %v", now.SilentSince, before.LastReceived)
	}
	first, err := c.Offer(t.Context(), time.Second) // it gets no answer
	if err != nil {
		t.Fatal(err)
	}
	s.Dark.Store(false)
	second := c.exchange(p, func(sdp string) string {
		// Answers to earlier offers are ignored.
		if err := c.Answer(first.ID, "v=nonsense"); err != nil {
			t.Error(err)
		}
		return sdp
	})
	if second.ID != 3 || ufrag(first.SDP) == ufrag(second.SDP) {
		t.Errorf("offer %d with ufrag %q is no ICE restart", second.ID, ufrag(second.SDP))
	}
	eventually(t, "messages", func() bool { return len(c.received(rtc.Reliable)) == 2 })
	p.Send("_lossy", []byte("after"))
	eventually(t, "messages", func() bool { return len(c.received(rtc.Lossy)) == 1 })
	eventually(t, "no silence", func() bool { return c.Status().SilentSince.IsZero() })
}

// The server's answers to keepalives are counted, and a room in which nothing is said is no silent
// one.
func TestIdle(t *testing.T) {
	c, _, _ := connect(t)
	n := c.Status().Responses
	eventually(t, "keepalives", func() bool { return c.Status().Responses > n+10 })
	if s := c.Status(); !s.SilentSince.IsZero() ||
		time.Since(s.LastReceived) > quick.Disconnected+quick.Keepalive {
		t.Errorf("status %+v", s)
	}
}

// TURN servers of no use do no harm: the direct path is found beside them.
func TestUselessTURN(t *testing.T) {
	for name, url := range map[string]string{
		"nobody there": "turn:127.0.0.1:9?transport=tcp", "no address": "turn:::::",
	} {
		t.Run(name, func(t *testing.T) {
			p, c := rtctest.NewServer(t, quick).NewPeer(t), newClient(t, rtc.Options{})
			err := c.UseTURN([]rtc.TURNServer{
				{URLs: []string{url}, Username: "u", Credential: "c"},
			})
			if (err != nil) != (name == "no address") || !c.Status().TURN {
				t.Errorf("error %v, status %+v", err, c.Status())
			}
			c.exchange(p, func(sdp string) string { return sdp })
			c.await(rtc.Opened)
		})
	}
}

// Only through TURN: our own addresses are not offered.
func TestRelayOnly(t *testing.T) {
	c := newClient(t, rtc.Options{RelayOnly: true})
	if err := c.UseTURN([]rtc.TURNServer{{
		URLs: []string{"turn:127.0.0.1:9?transport=tcp"}, Username: "u", Credential: "c",
	}}); err != nil {
		t.Fatal(err)
	}
	o, err := c.Offer(t.Context(), 200*time.Millisecond)
	if err != nil || strings.Contains(o.SDP, "a=candidate") {
		t.Errorf("%v; the offer has our addresses:\n%s", err, o.SDP)
	}
}
