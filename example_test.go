package textegress_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

func Example() {
	root, err := os.OpenRoot("testdata/delivery")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer root.Close()
	rec, err := textegress.Open(root.FS())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := rec.Verify(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	m := rec.Manifest()
	fmt.Printf("%s, %s: %d messages, %d outages\n", m.Session.RoomName, m.Status, m.Counts.Messages,
		len(m.Completeness.Outages))
	for m, err := range rec.Messages() {
		if err != nil {
			fmt.Println(err)
			return
		}
		if m.Kind.IsEvent() {
			fmt.Println(m.N, m.Kind)
			continue
		}
		fmt.Printf("%d %s %s %q\n", m.N, m.Kind, m.Identity, m.Payload())
	}
	// Output:
	// class-1, COMPLETE: 2 messages, 0 outages
	// 1 recording_started
	// 2 joined
	// 3 data alice "Hello <all> & welcome"
	// 4 data bob "\xff\x00\x01"
	// 5 recording_ended
}

func ExampleRecording_Segments() {
	rec, err := textegress.Open(os.DirFS("testdata/delivery"))
	if err != nil {
		fmt.Println(err)
		return
	}
	segments, err := rec.Segments(func(r io.Reader) (io.ReadCloser, error) {
		d, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for f, err := range segment.Read(segments) {
		switch {
		case err != nil:
			fmt.Println(err)
			return
		case f.Damage:
			fmt.Println(f.Event.FramesMissing, "frames are missing")
		case f.Event != nil:
			fmt.Println(f.Index, f.Event.Kind)
		default:
			fmt.Println(f.Index, f.Channel, len(f.Payload), "bytes")
		}
	}
	// Output:
	// 1 recording_started
	// 2 joined
	// 3 reliable 61 bytes
	// 4 lossy 21 bytes
	// 5 recording_ended
}

func ExampleEscapeName() {
	for _, name := range []string{"alice", "Müller 李", "a/b", "..", ""} {
		fmt.Println(textegress.EscapeName(name))
	}
	// Output:
	// alice
	// Müller 李
	// a%2Fb
	// %2E%2E
	// %empty
}
