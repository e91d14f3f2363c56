package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// TestRecover_TruncatedAnywhere: the last segment ends at any byte. Recovery cuts
// what is no whole frame, and the recording goes on without a trace of it.
func TestRecover_TruncatedAnywhere(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	texts := []string{"one", "", "three", strings.Repeat("4", 90)}
	appendText(t, w, "in the first segment")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = openWriter(t, r)
	appendText(t, w, texts...)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	last := r.path(segment.Name(2))
	b := readFile(t, mem, last)
	ends := []int{segment.HeaderSize}
	for _, s := range texts {
		ends = append(ends, ends[len(ends)-1]+segment.FrameHeaderSize+len(s))
	}
	for n := range len(b) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			after := mem.Restart(nil)
			putFile(t, after, last, b[:n])
			whole := 0
			for whole < len(texts) && ends[whole+1] <= n {
				whole++
			}
			s := openSpool(t, "/data", Options{FS: after, SyncInterval: quiet})
			r := s.Recordings()[0]
			want := append([]string{"in the first segment"}, texts[:whole]...)
			wantTexts(t, r, want...)
			if f, ok, err := lastFrame(r); err != nil || !ok ||
				string(f.Payload) != want[len(want)-1] {
				t.Errorf("last frame %+v, %v, %v", f, ok, err)
			}
			w := openWriter(t, r)
			if n < segment.HeaderSize {
				if there, _ := after.Exists("test", last); there {
					t.Error("a segment without a header is still there")
				}
			} else if got := readFile(t, after, last); !bytes.Equal(got, b[:ends[whole]]) {
				t.Errorf("%d bytes after recovery, want %d", len(got), ends[whole])
			}
			appendText(t, w, "after")
			seal(t, w)
			wantTexts(t, r, append(want, "after")...)
		})
	}
}

// TestRecover_DamageIsKept: what is corrupt stays in the file as it is, and the
// index goes on behind it.
func TestRecover_DamageIsKept(t *testing.T) {
	mem, o := memory()
	r, w := newRecording(t, openSpool(t, "/data", o))
	appendText(t, w, "one", "two", "three")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := r.path(segment.Name(1))
	b := readFile(t, mem, name)
	for at := range b {
		after := mem.Restart(nil)
		damaged := slices.Clone(b)
		damaged[at] ^= 0x55
		putFile(t, after, name, damaged)
		s := openSpool(t, "/data", Options{FS: after, SyncInterval: quiet})
		r := s.Recordings()[0]
		w := openWriter(t, r)
		appendText(t, w, "four")
		seal(t, w)
		if !bytes.Equal(readFile(t, after, name), damaged) {
			t.Fatalf("byte %d: recovery altered the segment", at)
		}
		frames, corrupt := split(t, collect(t, r.Frames()))
		lost := int64(1)
		if at < segment.HeaderSize {
			lost = 0
		}
		if last := frames[len(frames)-1]; last.Index != 4 || len(frames) != 4-int(lost) {
			t.Fatalf("byte %d: %d frames, the last is %+v", at, len(frames), last)
		}
		if len(corrupt) != 1 || corrupt[0].FramesMissing != lost {
			t.Fatalf("byte %d: corrupt %+v", at, corrupt)
		}
		sealed, _ := r.Sealed()
		if sealed.Segments[0].Frames != 3-lost || sealed.Segments[0].Size != int64(len(b)) {
			t.Fatalf("byte %d: %+v", at, sealed.Segments)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecover_OldSegmentsAreSynced(t *testing.T) {
	mem, o := memory()
	r, w := newRecording(t, openSpool(t, "/data", o))
	appendText(t, w, numbers(1, 10)...)
	// kill -9: the bytes are in the page cache, nothing was synced. The next
	// process reports them durable with its first Sync, so they must be.
	s2, err := Open("/data", Options{FS: unlocked{mem}, SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r2, _ := s2.Recording(r.ID())
	w2 := openWriter(t, r2)
	appendText(t, w2, "message 11")
	if err := w2.Sync(); err != nil {
		t.Fatal(err)
	}
	s3 := openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet})
	wantTexts(t, s3.Recordings()[0], numbers(1, 11)...)
}

// TestOpen_MakesDurableWhatItFinds: the process was killed between the renaming
// of sealed.json and the fsync of the directory; then the power fails.
func TestOpen_MakesDurableWhatItFinds(t *testing.T) {
	mem, o := memory()
	o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
		if c.Label == "seal" && c.Name == "syncdir" {
			return 0, syscall.EIO
		}
		return 0, nil
	}}
	r, w := newRecording(t, openSpool(t, "/data", o))
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err == nil {
		t.Fatal("no error")
	}
	s := openSpool(t, "/data", Options{FS: unlocked{mem}, SyncInterval: quiet})
	if r, _ := s.Recording(r.ID()); r.State() != StateSealed {
		t.Fatalf("state %s", r.State())
	}
	s = openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet})
	if r, _ := s.Recording(r.ID()); r.State() != StateSealed {
		t.Errorf("state %s after a power failure, it had been %s", r.State(), StateSealed)
	}
}

// unlocked lets a second spool stand for the process after a kill -9.
type unlocked struct{ *durabletest.CrashFS }

func (u unlocked) Lock(op, name string) (io.Closer, error) {
	return u.CrashFS.Lock(op, name+" of the next process")
}

func TestRecover_SyncFails(t *testing.T) {
	mem, o := memory()
	r, w := newRecording(t, openSpool(t, "/data", o))
	appendText(t, w, "one")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fault := &durabletest.Fault{FS: mem.Restart(nil), Hook: func(c durabletest.Call) (int, error) {
		if c.Label == "recover" && c.Name == "sync" {
			return 0, syscall.EIO
		}
		return 0, nil
	}}
	r, _ = openSpool(t, "/data", Options{FS: fault, SyncInterval: quiet}).Recording(r.ID())
	w = openWriter(t, r)
	appendText(t, w, "two")
	if err := w.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	seal(t, w)
	if got, _ := r.Sealed(); !got.Suspect {
		t.Error("not suspect")
	}
	wantTexts(t, r, "one", "two")
}

const childEnv = "TEXTEGRESS_SPOOL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	m.Run()
}

// child appends numbered messages for ever and says so after each, as a recorder
// that is about to be killed. Nothing is ever synced.
func child(dir string) error {
	s, err := Open(dir, Options{SyncInterval: quiet, SegmentSize: 10 << 10})
	if err != nil {
		return err
	}
	r := s.Recordings()
	if len(r) == 0 {
		first, err := s.Create(Info{SessionID: "s"})
		if err != nil {
			return err
		}
		r = append(r, first)
	}
	next := 1
	if last, ok, err := lastFrame(r[0]); err != nil {
		return err
	} else if ok {
		next = int(last.Index) + 1
	}
	w, err := r[0].Writer()
	if err != nil {
		return err
	}
	for i := next; ; i++ {
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket,
			Payload: fmt.Appendf(nil, "message %d",
				i),
		}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKill: a process that is killed loses nothing that Append acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		goal := acknowledged + 200 + 137*round
		for in.Scan() {
			n := 0
			if _, err := fmt.Sscan(in.Text(), &n); err != nil || n <= acknowledged &&
				acknowledged > 0 && n != acknowledged+1 {
				t.Fatalf("%q after %d: %v", in.Text(), acknowledged, err)
			}
			acknowledged = n
			if n >= goal {
				_ = cmd.Process.Kill() // what was acknowledged until it dies is still read below
			}
		}
		_ = cmd.Wait()
		if acknowledged < goal {
			t.Fatalf("the child ended after %d of %d", acknowledged, goal)
		}
		s := openSpool(t, dir, Options{SyncInterval: quiet})
		if p := s.Problems(); len(p) > 0 {
			t.Errorf("problems: %v", p)
		}
		frames := collect(t, s.Recordings()[0].Frames())
		if len(frames) < acknowledged || len(frames) > acknowledged+1 {
			t.Fatalf("%d frames, %d were acknowledged", len(frames), acknowledged)
		}
		wantTexts(t, s.Recordings()[0], numbers(1, len(frames))...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		acknowledged = len(frames)
	}
}

func TestOpenReadOnly_BesideTheService(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no spool: %v", err)
	}
	s := openSpool(t, dir, Options{SyncInterval: quiet})
	r, w := newRecording(t, s)
	appendText(t, w, "one", "two")
	if _, err := Open(dir, Options{}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second service: %v", err)
	}
	// A write that is under way.
	f, err := os.OpenFile(r.path(segment.Name(1)), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(w.segment.header.Marker[:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ro, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	other, ok := ro.Recording(r.ID())
	if !ok || other.State() != StateOpen {
		t.Fatalf("%v, %v", other, ok)
	}
	wantTexts(t, other, "one", "two")
	if infos, err := other.Segments(); err != nil || len(infos) != 1 || infos[0].Frames != 2 {
		t.Errorf("segments %+v, %v", infos, err)
	}
	for name, err := range map[string]error{
		"writer":   second(other.Writer()),
		"create":   second(ro.Create(Info{})),
		"export":   other.WriteExport(nil),
		"remove":   other.RemoveData(),
		"forget":   other.Delete(),
		"uploaded": other.WriteUploaded(nil),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Truncate(r.path(segment.Name(1)), w.segment.size); err != nil {
		t.Fatal(err)
	}
	appendText(t, w, "three")
	wantTexts(t, other, "one", "two", "three")
}

func second[T any](_ T, err error) error { return err }

func TestState_Order(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	appendText(t, w, "one")
	steps := []struct {
		state State
		do    func(*Recording) error
	}{
		{StateOpen, func(r *Recording) error { return nil }},
		{StateSealed, func(*Recording) error {
			return w.Seal(Sealed{Status: textegress.StatusComplete})
		}},
		{StateExported, func(r *Recording) error { return r.WriteExport([]byte("e")) }},
		{StateUploaded, func(r *Recording) error { return r.WriteUploaded([]byte("u")) }},
		{StateRemoved, func(r *Recording) error { return r.RemoveData() }},
	}
	for i, step := range steps {
		if err := step.do(r); err != nil {
			t.Fatalf("%s: %v", step.state, err)
		}
		if err := step.do(r); err != nil {
			t.Errorf("%s again: %v", step.state, err)
		}
		for j, other := range steps {
			if other.state == StateOpen || other.state == StateSealed || j == i || j == i+1 {
				continue
			}
			if err := other.do(r); !errors.Is(err, ErrState) {
				t.Errorf("%s → %s: %v", step.state, other.state, err)
			}
		}
		if step.state != StateRemoved {
			if err := r.Delete(); !errors.Is(err, ErrState) {
				t.Errorf("forget when %s: %v", step.state, err)
			}
		}
		// After a power failure the state is the same.
		again, ok := openSpool(t, "/data",
			Options{FS: mem.Restart(nil), SyncInterval: quiet}).Recording(r.ID())
		if !ok || again.State() != step.state || r.State() != step.state {
			t.Errorf("state %s, after a restart %s, want %s", r.State(), again.State(), step.state)
		}
	}
	if b, ok, err := r.Export(); err != nil || !ok || string(b) != "e" {
		t.Errorf("export: %q, %v, %v", b, ok, err)
	}
	if b, ok, err := r.Uploaded(); err != nil || !ok || string(b) != "u" {
		t.Errorf("uploaded: %q, %v, %v", b, ok, err)
	}
	if _, ok, err := lastFrame(r); ok || err != nil {
		t.Errorf("last frame after the data was removed: %v, %v", ok, err)
	}
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Recordings()); n != 0 {
		t.Errorf("%d recordings after Forget", n)
	}
	if n := len(openSpool(t, "/data", Options{FS: mem.Restart(nil)}).Recordings()); n != 0 {
		t.Errorf("%d recordings after Forget and a restart", n)
	}
}

func TestState_WrittenOnce(t *testing.T) {
	_, o := memory()
	r, w := newRecording(t, openSpool(t, "/data", o))
	seal(t, w)
	if err := r.WriteExport([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteExport([]byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("other bytes: %v", err)
	}
	if b, _, _ := r.Export(); string(b) != "one" {
		t.Errorf("export.json is now %q", b)
	}
}

// TestOpen_Strange: one directory's trouble is its own.
func TestOpen_Strange(t *testing.T) {
	for _, tt := range []struct {
		name       string
		files      map[string]string // in the directory DE_strange
		hook       func(durabletest.Call) (int, error)
		want       State // "" where it is no recording
		quarantine bool
		gone       bool
	}{
		{name: "no recording.json", files: map[string]string{"000001.seg": "x"}, quarantine: true},
		{
			name: "damaged recording.json", files: map[string]string{recordingName: `{"egress_id`},
			quarantine: true,
		},
		{
			name: "recording.json of another",
			files: map[string]string{
				recordingName: `{"format_version":1,"egress_id":"DE_other"}`,
			},
			quarantine: true,
		},
		{
			name:  "of a newer program",
			files: map[string]string{recordingName: `{"format_version":2}`},
		},
		{
			name: "cannot be read now", files: map[string]string{recordingName: `{}`},
			hook: func(c durabletest.Call) (int, error) {
				if c.Name == "readfile" && strings.Contains(c.Path, "DE_strange") {
					return 0, syscall.EIO
				}
				return 0, nil
			},
		},
		{
			name:  "left by a Create that never returned",
			files: map[string]string{recordingName + ".tmp": `{"egr`}, gone: true,
		},
		{
			name: "damaged sealed.json", want: StateOpen,
			files: map[string]string{
				recordingName: `{"format_version":1,"egress_id":"DE_strange"}`,
				sealedName:    "{",
			},
		},
		{
			name: "damaged sealed.json of an export", quarantine: true,
			files: map[string]string{
				recordingName: `{"format_version":1,"egress_id":"DE_strange"}`,
				sealedName:    "{", exportName: "{}",
			},
		},
		{
			name: "unfinished state file", want: StateOpen,
			files: map[string]string{
				recordingName:       `{"format_version":1,"egress_id":"DE_strange"}`,
				sealedName + ".tmp": `{"status":"COMPLETE"}`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem, o := memory()
			s := openSpool(t, "/data", o)
			good, w := newRecording(t, s)
			appendText(t, w, "one")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dir := "/data/recordings/DE_strange"
			if err := mem.Mkdir("test", dir); err != nil {
				t.Fatal(err)
			}
			for name, content := range tt.files {
				putFile(t, mem, filepath.Join(dir, name), []byte(content))
			}
			o.FS = &durabletest.Fault{FS: mem, Hook: tt.hook}
			s = openSpool(t, "/data", o)
			r, ok := s.Recording(good.ID())
			if !ok {
				t.Fatal("the good recording is gone")
			}
			wantTexts(t, r, "one")
			strange, ok := s.Recording("DE_strange")
			if ok != (tt.want != "") || ok && strange.State() != tt.want {
				t.Errorf("recording: %v, %v", strange, ok)
			}
			if ok {
				w := openWriter(t, strange)
				appendText(t, w, "x")
				seal(t, w)
			}
			there, _ := mem.Exists("test", dir)
			moved, _ := mem.Exists("test", "/data/quarantine/DE_strange")
			if moved != tt.quarantine || there == (tt.quarantine || tt.gone) {
				t.Errorf("there %v, quarantined %v", there, moved)
			}
			if n := len(s.Problems()); (n == 1) != (tt.want == "" && !tt.gone) {
				t.Errorf("problems: %v", s.Problems())
			}
		})
	}
}

func TestInstance_IsMadeOnce(t *testing.T) {
	mem, o := memory()
	name, err := openSpool(t, "/data", o).Instance()
	if err != nil || len(name) != 8 {
		t.Fatalf("%q, %v", name, err)
	}
	if again, err := openSpool(t, "/data", Options{FS: mem.Restart(nil)}).Instance(); err != nil ||
		again != name {
		t.Errorf("%q after a restart, %v; was %q", again, err, name)
	}
}

func TestCreate_RefusesPaths(t *testing.T) {
	_, o := memory()
	s := openSpool(t, "/data", o)
	for _, id := range []string{"..", "a/b", "DE_\x00", strings.Repeat("x", 65)} {
		if _, err := s.Create(Info{EgressID: id}); err == nil {
			t.Errorf("%q was accepted", id)
		}
	}
	r, err := s.Create(Info{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(Info{EgressID: r.ID()}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same id again: %v", err)
	}
	if got, ok := s.Recording(r.ID()); !ok || got != r {
		t.Error("the first recording is gone")
	}
	if info := r.Info(); info.Part != 1 || info.FormatVersion != 1 || info.CreatedUnixNS == 0 ||
		len(r.ID()) != 15 {
		t.Errorf("info: %+v", info)
	}
}
