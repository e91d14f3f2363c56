package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/test/stack"
)

// TestConfigCheck: before a service ever ran, the check tries every part for real, LiveKit's data
// channels too, leaves the device behind and nothing else, and shows no secret.
func TestConfigCheck(t *testing.T) {
	ctx := testContext(t)
	p := servers.SyncFlow.Projects[0]
	devices := must(servers.SyncFlow.Devices(ctx, p))(t)
	for _, d := range devices {
		check(t, servers.SyncFlow.DeleteDevice(ctx, p, d.ID))
	}
	livekitKeys := []string{
		"PROJECTS__0__LIVEKIT__API_KEY=" + servers.LiveKit.APIKey,
		"PROJECTS__0__LIVEKIT__API_SECRET=" + servers.LiveKit.APISecret,
	}
	for name, c := range map[string]struct {
		extra []string
		fails string // the part that fails; empty: none
		says  string
	}{
		"all well":        {livekitKeys, "", ""},
		"no LiveKit keys": {nil, "", "Only signalling was tested"},
		"wrong secret": {append(livekitKeys[:1:1], "PROJECTS__0__LIVEKIT__API_SECRET="+
			strings.Repeat("x", 32)), "livekit room", "API key"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := servers.NewRecorderOf(ctx, t.TempDir(), []stack.Project{p}, c.extra...)
			check(t, err)
			out, stderr, code, err := r.CLI(ctx, "config", "check", "--json")
			check(t, err)
			var answer struct {
				Checks []struct {
					Part, Detail string
					OK, Skipped  bool
				}
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, stderr)
			}
			parts := map[string]bool{}
			for _, f := range answer.Checks {
				parts[f.Part] = true
				if f.OK == (f.Part == c.fails) {
					t.Errorf("%s: ok %v: %s", f.Part, f.OK, f.Detail)
				}
			}
			for _, part := range []string{
				"data directory", "syncflow", "clock", "device",
				"livekit", "broker login", "broker queue", "broker binding", "bucket",
			} {
				if !parts[part] {
					t.Errorf("%s was not tried", part)
				}
			}
			if (code == 0) != (c.fails == "") || parts["livekit room"] != (len(c.extra) > 0) ||
				!strings.Contains(out, c.says) {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, secret := range []string{
				p.Secret, servers.LiveKit.APISecret, servers.S3.SecretKey,
				"eyJ",
			} {
				if strings.Contains(out+stderr, secret) {
					t.Error("a secret is shown")
				}
			}
			if left, err := os.ReadDir(r.DataDir()); !os.IsNotExist(err) {
				t.Errorf("the data directory was left: %v, %v", left, err)
			}
		})
	}
	if d := must(servers.SyncFlow.Devices(ctx, p))(t); len(d) != 1 {
		t.Errorf("%d devices, want ours", len(d))
	}
	rooms := must(servers.LiveKit.RoomService().ListRooms(ctx, &livekit.ListRoomsRequest{}))(t)
	if strings.Contains(fmt.Sprint(rooms), "textegress-check-") {
		t.Errorf("a room is left: %v", rooms)
	}
}
