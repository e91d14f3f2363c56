package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/segment"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"textegress": main})
}

// TestScripts runs the command as a process of its own, one script per subcommand.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// The scripts see no settings of this machine.
			env.Vars = append(env.Vars, "HOME="+env.WorkDir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     exits,
			"await":     await,
			"hangup":    hangup,
			"syncflow":  syncflowServer,
			"service":   controlService,
			"recording": spoolRecording,
			"veiled":    veiledRecording,
			"kinds":     kindsRecording,
			"deliver":   deliverRecording,
			"alter":     alterFile,
			"forge":     forgeObject,
			"fifo":      makePipe,
		},
	})
}

// exits runs a command and checks its exit code: exits 3 textegress verify dir.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

const testProject = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"

// syncflowServer starts a SyncFlow API with one project and the given devices (name/group), and
// sets SYNCFLOW_SERVER_URL. What is deleted is written to deleted.txt; while there is a file named
// refuses, no key is accepted. It is the project's LiveKit server too: one that has /rtc/v1, unless
// there is a file named old.
func syncflowServer(ts *testscript.TestScript, _ bool, args []string) {
	var mu sync.Mutex
	devices := map[string]map[string]any{}
	for i, arg := range args {
		name, group, _ := strings.Cut(arg, "/")
		id := "5f0c0000-0000-4000-8000-00000000000" + strconv.Itoa(i)
		devices[id] = map[string]any{
			"id": id, "name": name, "group": group, "registeredAt": 1750000000 + i,
			"projectId":                       testProject,
			"sessionNotificationExchangeName": "exchange",
			"sessionNotificationBindingKey":   testProject + "." + group,
		}
	}
	answer := func(w http.ResponseWriter, code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	deleted, refuses := ts.MkAbs("deleted.txt"), ts.MkAbs("refuses")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /projects/{p}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]any{
			"id": testProject, "name": "Study \u202e1",
			"livekitServerUrl": "http://" + r.Host,
		})
	})
	mux.HandleFunc("GET /projects/{p}/devices", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		list := []any{}
		for _, d := range devices {
			list = append(list, d)
		}
		answer(w, 200, list)
	})
	mux.HandleFunc("POST /projects/{p}/devices/register",
		func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, map[string]any{
				"id": "5f0c0000-0000-4000-8000-0000000000ff", "name": "text-egress",
				"group":                           "text-egress",
				"sessionNotificationExchangeName": "exchange",
				"sessionNotificationBindingKey":   testProject + ".text-egress",
			})
		})
	mux.HandleFunc("DELETE /projects/{p}/devices/{d}",
		func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			d, ok := devices[r.PathValue("d")]
			if !ok {
				answer(w, 404, map[string]any{"status": 404, "message": "Record not found"})
				return
			}
			delete(devices, r.PathValue("d"))
			_ = os.WriteFile(deleted, []byte(r.PathValue("d")+"\n"), 0o600)
			answer(w, 200, d)
		})
	auth := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/rtc/v1" {
			if _, err := os.Stat(ts.MkAbs("old")); err == nil {
				http.NotFound(w, r)
				return
			}
			http.Error(w, "permissions denied", http.StatusUnauthorized)
			return
		}
		if _, err := os.Stat(refuses); err == nil {
			answer(w, 401, map[string]any{
				"status":  401,
				"message": "Invalid token, please login again",
			})
			return
		}
		mux.ServeHTTP(w, r)
	})
	server := httptest.NewServer(auth)
	ts.Defer(server.Close)
	ts.Setenv("SYNCFLOW_SERVER_URL", server.URL)
}

// await waits for a file.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not appear", args[0])
		}
	}
}

// hangup sends SIGHUP to the commands in the background.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

// fakeService is the running service behind a control socket.
type fakeService struct{ asked string }

func (fakeService) NotReady() []string { return nil }

func (fakeService) Status() web.Status {
	return web.Status{Recordings: []web.RecordingStatus{{
		EgressID: "DE_live", RoomName: "room\u202e1", SessionID: "s-1", Status: "ACTIVE",
		State: "open", Part: 1, Packets: 42, Connected: true,
	}}}
}

func (fakeService) Rehearse(_ context.Context, project string,
	report func(web.RehearsalStep),
) error {
	report(web.RehearsalStep{
		Name: "room", Result: "ok", Detail: "opened the room x", TookMS: 12.4,
	})
	switch project {
	case "broken":
		report(web.RehearsalStep{
			Name: "delivered", Result: "failed", Detail: "the bucket refuses us",
		})
		return errors.New("the rehearsal failed")
	case "syncflow":
		report(web.RehearsalStep{Name: "room", Result: web.NotTried, Detail: "no tokens"})
	}
	return nil
}

func (f fakeService) Forget(context.Context, []byte) ([]byte, error) {
	return []byte(`{"dry_run":true,"recordings":[]}`), nil
}

func (fakeService) StopRecording(_ context.Context, id string) (string, error) {
	if id != "s-1" {
		return "", errors.New("no such recording")
	}
	return "DE_1", nil
}

func (fakeService) Exclude(_ context.Context, q web.ExcludeRequest) (web.ExcludeAnswer, error) {
	switch {
	case q.SessionID == "s-9":
		return web.ExcludeAnswer{}, errors.New("session s-9: no such session")
	case q.Identity == "bob":
		return web.ExcludeAnswer{Projects: 1, Present: 1}, nil
	}
	return web.ExcludeAnswer{Projects: 1}, nil
}

// Record of the session "slow" makes a file when it begins, and never ends by itself.
func (f fakeService) Record(ctx context.Context, sessionID, project string) (string, error) {
	if sessionID == "slow" {
		_ = os.WriteFile(f.asked, nil, 0o600)
		<-ctx.Done()
		return "", ctx.Err()
	}
	if sessionID != "s-1" || project != "" && project != "p-1" {
		return "", errors.New("project 0 does not know it")
	}
	return "DE_new", nil
}

// controlService listens on the control socket of a data directory as the service does.
func controlService(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	listener, err := web.ListenControl(dir)
	ts.Check(err)
	doors := access.New(access.Options{Logger: slog.New(slog.DiscardHandler)})
	doors.At(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9464}, "localhost:0")
	s := web.New(web.Options{
		Service:  fakeService{asked: ts.MkAbs("asked")},
		Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Doors: doors,
	})
	server := s.Control(listener)
	go func() { _ = server.Run() }()
	ts.Defer(func() { _ = server.Close(context.Background()) })
}

// kindsDir is a data directory with a recording of everything that LiveKit can carry,
// DE_golden000003. Some of it is encrypted, most of that with "a shared secret".
var kindsDir, _ = filepath.Abs("../../internal/render/testdata/spool")

// kindsRecording copies it: kinds <dir>.
func kindsRecording(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(kindsDir)))
}

// spoolRecording makes recordings in a data directory: recording <dir> <egress id> [sealed
// [instance [identity]]].
func spoolRecording(ts *testscript.TestScript, _ bool, args []string) {
	s, err := spool.Open(ts.MkAbs(args[0]), spool.Options{Logger: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	defer func() { ts.Check(s.Close()) }()
	prefix := textegress.Prefix("Study", testProject, "room\x1b[2J", "", args[1])
	instance := ""
	if len(args) > 3 {
		instance = args[3]
	}
	rec, err := s.Create(spool.Info{
		Instance: instance, EgressID: args[1], SessionID: "s-1", RoomName: "room\x1b[2J",
		ProjectID: testProject, ProjectName: "Study", KeyPrefix: prefix,
		Part: 1, Source: "command", CreatedUnixNS: 1_767_322_800_000_000_000,
	})
	ts.Check(err)
	w, err := rec.Writer()
	ts.Check(err)
	started, err := segment.EncodeEvent(segment.Event{Kind: textegress.KindRecordingStarted})
	ts.Check(err)
	ts.Check(w.Append(segment.Frame{Type: segment.FrameEvent, Payload: started}))
	for i := range 3 {
		// DataPacket{user: {payload: "hell0"}}
		packet := fmt.Appendf(nil, "\x12\x07\x12\x05hell%d", i)
		ts.Check(w.Append(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Epoch: 1, UnixNS: int64(1_767_322_800_000_000_001 + i), Payload: packet,
		}))
	}
	if len(args) > 4 { // a packet of somebody
		packet := append([]byte("\x12\x07\x12\x05hello\x22"),
			append([]byte{byte(len(args[4]))}, args[4]...)...)
		ts.Check(w.Append(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Epoch: 1, Payload: packet,
		}))
	}
	if len(args) > 2 && args[2] == "sealed" {
		ts.Check(w.Seal(spool.Sealed{Status: textegress.StatusComplete, Reason: "room_deleted"}))
		return
	}
	ts.Check(w.Close())
}

// veiledRecording makes a sealed recording under pseudonyms in which a participant sends something,
// and remembers theirs: veiled <dir> <egress id> <identity>.
func veiledRecording(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	store := pseudonym.Open(dir)
	key, err := store.Key(testProject)
	ts.Check(err)
	names, err := store.Names(testProject, key)
	ts.Check(err)
	ts.Check(names.Save([]string{args[2]}))
	s, err := spool.Open(dir, spool.Options{Logger: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	defer func() { ts.Check(s.Close()) }()
	rec, err := s.Create(spool.Info{
		EgressID: args[1], SessionID: "s-1", RoomName: "room", ProjectID: testProject,
		ProjectName: "Study", Part: 1, Instance: "lab",
		KeyPrefix:     textegress.Prefix("Study", testProject, "room", "", args[1]),
		CreatedUnixNS: 1_767_322_800_000_000_000,
		Pseudonyms:    true, PseudonymKey: key,
	})
	ts.Check(err)
	w, err := rec.Writer()
	ts.Check(err)
	packet := append([]byte("\x12\x07\x12\x05hello\x22"),
		append([]byte{byte(len(args[2]))}, args[2]...)...)
	ts.Check(w.Append(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1,
		UnixNS: 1_767_322_800_000_000_001, Payload: packet,
	}))
	ts.Check(w.Seal(spool.Sealed{Status: textegress.StatusComplete, Reason: "room_deleted"}))
}

// alterFile replaces the first occurrence of a text in a file: alter <file> <old> <new>.
func alterFile(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if !strings.Contains(string(b), args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]),
		[]byte(strings.Replace(string(b), args[1], args[2], 1)), 0o600))
}

// forgeObject is alterFile for an object of a delivered recording, with a manifest that fits: forge
// <dir> <object> <old> <new>.
func forgeObject(ts *testscript.TestScript, neg bool, args []string) {
	name, manifest := args[0]+"/"+args[1], args[0]+"/manifest.json"
	was, err := os.ReadFile(ts.MkAbs(name))
	ts.Check(err)
	alterFile(ts, neg, []string{name, args[2], args[3]})
	is, err := os.ReadFile(ts.MkAbs(name))
	ts.Check(err)
	entry := func(b []byte) string {
		sum := sha256.Sum256(b)
		return fmt.Sprintf("\"size\": %d,\n      \"sha256\": %q", len(b),
			hex.EncodeToString(sum[:]))
	}
	alterFile(ts, neg, []string{manifest, entry(was), entry(is)})
}

// makePipe replaces a file with a named pipe, which blocks whoever opens it.
func makePipe(ts *testscript.TestScript, _ bool, args []string) {
	_ = os.Remove(ts.MkAbs(args[0]))
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// deliverRecording writes a small delivered recording into a directory.
func deliverRecording(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(writeDelivered(dir))
}

func writeDelivered(dir string) error {
	events :=
		`{"n":1,"kind":"data","time":"2026-01-02T03:04:05.000000000Z","unix_ns":1767323045000000000,"text":"hello"}` + "\n"
	sum := sha256.Sum256([]byte(events))
	one := int64(1)
	manifest, err := textegress.Manifest{
		FormatVersion: textegress.FormatVersion, EgressID: "DE_done",
		Status: textegress.StatusComplete, Part: 1, Revision: 1,
		Counts: textegress.Counts{
			Messages: 1,
			ByKind:   map[textegress.Kind]int64{textegress.KindData: 1},
		},
		Completeness: textegress.Completeness{Tail: textegress.TailUnproved},
		Objects: []textegress.Object{{
			Key: textegress.EventsName, Size: int64(len(events)),
			SHA256: hex.EncodeToString(sum[:]), ContentType: "application/x-ndjson", Messages: &one,
		}},
	}.Encode()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, textegress.ManifestName), manifest, 0o600),
		os.WriteFile(filepath.Join(dir, textegress.EventsName), []byte(events), 0o600))
}
