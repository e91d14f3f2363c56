package project

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/session"
)

// TestRoomUpdated: the rooms are listed at once when a room that is being recorded opts out in its
// metadata, and after no other change of the metadata.
func TestRoomUpdated(t *testing.T) {
	lists := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		lists <- struct{}{}
	}))
	defer server.Close()
	c, err := config.Load(config.Options{Dir: t.TempDir(), Environ: []string{
		"LIVEKIT_URL=" + server.URL, "LIVEKIT_API_KEY=k", "LIVEKIT_API_SECRET=s",
		"POLL_INTERVAL=1h",
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(c, c.Projects[0], Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = p.Sources[0].Run(ctx, nobody{}) })
	<-lists
	for _, metadata := range []string{
		"", `{"other":1}`, `{"textegress":{"record":true}}`, `{"textegress":{"record":false}}`,
	} {
		p.RoomUpdated(session.Room{SID: "RM_1", Metadata: metadata})
	}
	<-lists
	if len(lists) > 0 {
		t.Errorf("%d more lists", len(lists))
	}
}

// nobody is a handler without a recorder.
type nobody struct{}

func (nobody) Announce(context.Context, session.Announcement) error { return nil }
func (nobody) Withdraw(context.Context, string) error               { return nil }
func (nobody) Resync(context.Context, []session.Gap) error          { return nil }
