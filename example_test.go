package textegress_test

import (
	"context"
	"fmt"
	"os"

	"github.com/syncflow/textegress"
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
