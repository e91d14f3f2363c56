// Command goclient records a room until it is interrupted, and says what was recorded.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/syncflow/textegress/client"
	"github.com/syncflow/textegress/dataegress"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	c, err := client.New(os.Getenv("TEXTEGRESS_URL"), os.Getenv("LIVEKIT_API_KEY"),
		os.Getenv("LIVEKIT_API_SECRET"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	interrupt, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	recording, err := c.Start(ctx, &dataegress.StartDataEgressRequest{
		RoomName: "Biology 2", Topics: []string{"lk.chat"},
	})
	if err != nil {
		return err
	}
	fmt.Println("recording", recording.GetEgressId())
	<-interrupt.Done()

	if _, err := c.Stop(ctx, recording.GetEgressId()); err != nil {
		return err
	}
	recording, err = c.Wait(ctx, recording.GetEgressId()) // delivered and verified
	if err != nil {
		return err
	}
	fmt.Println(recording.GetStatus(), recording.GetManifestLocation())
	fmt.Println(recording.GetDetails())
	return nil
}
