// Command gosdk is a recorder as a user of LiveKit's Go SDK might write it on the SDK's callbacks.
// It serves only for comparison in the benchmark. It joins rooms and appends one line per message
// to one text file per room and sender, without fsync.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// Room is a room to join.
type Room struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer-gosdk:", err)
		os.Exit(1)
	}
}

func run() error {
	server := flag.String("url", "", "LiveKit server")
	list := flag.String("rooms", "", "JSON `file` with the rooms")
	out := flag.String("out", "", "`folder` for the text files")
	joined := flag.String("joined", "", "`file` to make when all rooms are joined")
	flag.Parse()
	lksdk.SetLogger(logger.GetDiscardLogger())
	b, err := os.ReadFile(*list)
	if err != nil {
		return err
	}
	var rooms []Room
	if err := json.Unmarshal(b, &rooms); err != nil {
		return err
	}
	slots := make(chan struct{}, 16)
	errs := make(chan error, len(rooms))
	for _, r := range rooms {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs <- join(*server, r, *out)
		}()
	}
	for range rooms {
		if err := <-errs; err != nil {
			return err
		}
	}
	if err := os.WriteFile(*joined, nil, 0o644); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return nil
}

func join(server string, r Room, out string) error {
	var mu sync.Mutex
	files := map[string]*os.File{}
	cb := lksdk.NewRoomCallback()
	cb.OnDataPacket = func(data lksdk.DataPacket, p lksdk.DataReceiveParams) {
		u, ok := data.(*lksdk.UserDataPacket)
		if !ok {
			return
		}
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		f := files[p.SenderIdentity]
		if f == nil {
			var err error
			name := url.PathEscape(r.Name) + "-" + url.PathEscape(p.SenderIdentity) + ".txt"
			if f, err = os.OpenFile(filepath.Join(out, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY,
				0o644); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			files[p.SenderIdentity] = f
		}
		w := bufio.NewWriter(f)
		fmt.Fprintf(w, "%s|%d|%s\n", now.UTC().Format("2006-01-02T15:04:05UTC"), now.UnixNano(),
			u.Payload)
		if err := w.Flush(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if _, err := lksdk.ConnectToRoomWithToken(server, r.Token, cb,
		lksdk.WithAutoSubscribe(false)); err != nil {
		return fmt.Errorf("joining %s: %w", r.Name, err)
	}
	return nil
}
