package apidoc

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"google.golang.org/protobuf/encoding/protojson"
)

// actAsLK is the environment variable that makes the test binary stand for LiveKit's command line,
// `lk`. It makes the same calls with the same SDK (cmd/lk/egress.go of livekit/livekit-cli).
const actAsLK = "APIDOC_LK"

// standIn returns a folder with a program `lk`.
func standIn(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "lk")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lkMain runs `lk egress list` and `lk egress stop`, and returns the exit code.
func lkMain(ctx context.Context, args []string) int {
	if err := runLK(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runLK(ctx context.Context, args []string) error {
	if len(args) < 2 || args[0] != "egress" {
		return fmt.Errorf("lk %q is not in the example", args)
	}
	flags := flag.NewFlagSet("lk", flag.ContinueOnError)
	var (
		id     = flags.String("id", "", "")
		room   = flags.String("room", "", "")
		active = flags.Bool("active", false, "")
		asJSON = flags.Bool("json", false, "")
	)
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	client := lksdk.NewEgressClient(os.Getenv("LIVEKIT_URL"), os.Getenv("LIVEKIT_API_KEY"),
		os.Getenv("LIVEKIT_API_SECRET"))
	switch args[1] {
	case "list":
		list, err := client.ListEgress(ctx, &livekit.ListEgressRequest{
			EgressId: *id, RoomName: *room, Active: *active,
		})
		if err != nil {
			return err
		}
		for _, e := range list.GetItems() {
			if *asJSON {
				fmt.Println(protojson.Format(e))
			} else {
				fmt.Println(e.GetEgressId(), e.GetStatus(), e.GetStartedAt(), e.GetError())
			}
		}
	case "stop":
		if _, err := client.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: *id}); err != nil {
			return err
		}
		fmt.Println("Stopping Egress", *id)
	default:
		return fmt.Errorf("lk egress %s is not in the example", args[1])
	}
	return nil
}
