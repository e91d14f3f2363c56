package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/syncflow/textegress/client"
	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api/apitest"
)

// Records one topic of a room, stops the recording, and waits until it is in the bucket.
func Example() {
	service := apitest.New() // stands for a running textegress
	service.OpenRoom("livekit", "Biology 2")
	server := httptest.NewServer(handler(service))
	defer server.Close()

	c, err := client.New(server.URL, key.ID, key.Secret)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := c.Start(ctx, &dataegress.StartDataEgressRequest{
		RoomName: "Biology 2", Topics: []string{"lk.chat"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Stop(ctx, e.GetEgressId()); err != nil {
		log.Fatal(err)
	}
	service.Deliver("livekit", e.GetEgressId())
	e, err = c.Wait(ctx, e.GetEgressId())
	if err != nil {
		log.Fatal(err)
	}
	s, err := c.Statement(ctx, e.GetEgressId())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.GetStatus(), e.GetManifestLocation())
	fmt.Println(s.GetPackets(), "packets,", len(s.GetOutages()), "outages, tail:", s.GetTail())
	// Output:
	// EGRESS_COMPLETE s3://recordings/livekit/Biology 2/data-egress/DE_000000000001/manifest.json
	// 42 packets, 0 outages, tail: left
}

// Lists the recordings that are under way.
func ExampleClient_List() {
	service := apitest.New()
	service.OpenRoom("livekit", "Biology 2")
	server := httptest.NewServer(handler(service))
	defer server.Close()

	c, err := client.New(server.URL, key.ID, key.Secret)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := c.Start(ctx,
		&dataegress.StartDataEgressRequest{RoomName: "Biology 2"}); err != nil {
		log.Fatal(err)
	}
	list, err := c.List(ctx, &dataegress.ListDataEgressRequest{Active: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range list {
		fmt.Println(e.GetEgressId(), e.GetRoomName(), e.GetStatus())
	}
	// Output:
	// DE_000000000001 Biology 2 EGRESS_ACTIVE
}
