package app_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/app"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/room"
)

// TestObjectsOfARecording: a delivered recording as one archive, and its report. What is not the
// delivered content is an error, and makes no archive that could be opened.
func TestObjectsOfARecording(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(w.dir, "out")
	w.env(w.directory(0, projectA, "out"))
	w.start()
	s := w.app.OverviewService()
	c := w.record(projectA, 1)
	w.send(c, "hello")
	id := w.recording(1).EgressID
	if err := s.Zip(t.Context(), id, io.Discard); !errors.Is(err, overview.ErrNotNow) {
		t.Errorf("an archive of an open recording: %v", err)
	}
	if _, err := s.Report(t.Context(), id); !errors.Is(err, overview.ErrNotFound) {
		t.Errorf("a report of an open recording: %v", err)
	}
	w.end(c, 1)
	w.delivered(1, out)
	rec, err := s.Recording(t.Context(), id)
	if err != nil || !rec.HasReport {
		t.Fatalf("%+v, %v", rec, err)
	}
	r, err := s.Report(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	report, err := io.ReadAll(r)
	r.Close()
	if err != nil || !bytes.Contains(report, []byte("<html")) {
		t.Errorf("%v: %.100s", err, report)
	}
	var archive bytes.Buffer
	if err := s.Zip(t.Context(), id, &archive); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != rec.Objects {
		t.Errorf("%d files of %d objects", len(z.File), rec.Objects)
	}
	root := filepath.Join(out, filepath.FromSlash(rec.Prefix))
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, id+"/")
		want, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil || !ok {
			t.Fatalf("%s: %v", f.Name, err)
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "report.html"), []byte("<html>other"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = s.Report(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, overview.ErrNotNow) {
		t.Errorf("another report: %v", err)
	}
	archive.Reset()
	if err := s.Zip(t.Context(), id, &archive); err == nil {
		t.Error("an archive with another report")
	}
	if _, err := zip.NewReader(bytes.NewReader(archive.Bytes()),
		int64(archive.Len())); err == nil {
		t.Error("an interrupted archive can be opened")
	}
}

// TestOverviewUnderPseudonyms: nobody's name or identity is shown, not of the roster either.
func TestOverviewUnderPseudonyms(t *testing.T) {
	w := newWorld(t)
	roster := filepath.Join(w.dir, "roster.csv")
	if err := os.WriteFile(roster, []byte("identity,name\nalice,Alice A\nfatima,Fatima F\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	w.env(w.token(), "ROSTER_GRACE=0s", project(0, projectA, "DIRECTORY="+
		filepath.Join(w.dir, "out"), "PSEUDONYMS=true", "LIVE_TEXT=true", "ROSTER_FILE="+roster))
	w.start()
	c := w.record(projectA, 1)
	c.Handler.Event(room.Event{
		Type: room.ParticipantJoined, At: time.Now(),
		Participant: room.Participant{Identity: "alice", SID: "PA_1", Name: "Alice A"},
	})
	w.send(c, "hello")
	id := w.recording(1).EgressID
	var o overview.Overview
	w.eventually("the overview shows the message", func() bool {
		w.ask("status", true, &o)
		return len(o.Sessions) == 1 && o.Sessions[0].Messages == 1 &&
			len(o.Sessions[0].People) == 2
	})
	if s := o.Sessions[0]; !s.Pseudonyms || s.Absent != 1 || s.People[0].Name != "" {
		t.Errorf("%+v", s)
	}
	w.eventually("the line is durable", func() bool {
		texts, _ := w.texts(id)
		return len(texts) == 1
	})
	for _, path := range []string{
		"status", "recordings/" + id, "recordings/" + id + "/events",
		"recordings/" + id + "/timeline",
	} {
		code, body := w.ask(path, true, nil)
		for _, name := range []string{"alice", "Alice", "fatima", "Fatima"} {
			if strings.Contains(body, name) {
				t.Errorf("%s: %d, %s is shown: %s", path, code, name, body)
			}
		}
		if code != 200 || !strings.Contains(body, o.Sessions[0].People[1].Identity) {
			t.Errorf("%s: %d without the pseudonym: %s", path, code, body)
		}
	}
}

// TestActions: the buttons of the page.
func TestActions(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	s := w.app.OverviewService()
	w.record(projectA, 1)
	if err := s.Stop(t.Context(), "DE_none"); !errors.Is(err, overview.ErrNotFound) {
		t.Error(err)
	}
	if err := s.Stop(t.Context(), w.recording(1).EgressID); err != nil {
		t.Error(err)
	}
	w.eventually("the recording ends", func() bool {
		return w.recording(1).State != "open"
	})
	if _, err := s.Record(t.Context(), sessionID(9), projectA); err == nil {
		t.Error("an unknown session is recorded")
	}
	id, err := s.Record(t.Context(), sessionID(1), projectA)
	if err != nil || id == "" {
		t.Errorf("record again: %q, %v", id, err)
	}
}

// TestPageIsServed: the page shows what is recorded, and without a login nobody's name.
func TestPageIsServed(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	w.send(w.record(projectA, 1), "hello")
	code, body := w.get("/", "")
	if code != 200 || !strings.Contains(body, "Recording one session") ||
		strings.Contains(body, "alice") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := w.get("/static/page.css", ""); code != 200 {
		t.Errorf("style: %d", code)
	}
}

// TestRefusedBucket: the first line of the page says that nothing is delivered, and why.
func TestRefusedBucket(t *testing.T) {
	w := newWorld(t)
	w.env(w.bucket(0, projectA, "AKBAD"))
	w.start()
	w.class(projectA, 1)
	var o overview.Overview
	w.eventually("the verdict names the bucket", func() bool {
		w.ask("status", false, &o)
		return strings.Contains(o.Verdict.Headline, "there is a problem with the bucket")
	})
	if o.Verdict.Level != overview.Bad || len(o.Sessions) != 1 ||
		o.Sessions[0].State != overview.StateDelivering || o.Sessions[0].Level != overview.Bad ||
		!strings.Contains(o.Sessions[0].Reason, "InvalidAccessKeyId") {
		t.Errorf("%+v", o)
	}
}

func TestDiskLasts(t *testing.T) {
	const gb = 1e9
	tests := []struct {
		name string
		got  time.Duration
		want time.Duration
	}{
		{"1 GB an hour", app.Lasts(time.Hour, gb, 11*gb, 10*gb), 9 * time.Hour},
		{"nothing observed", app.Lasts(time.Hour, gb, 11*gb), 0},
		{"too short", app.Lasts(time.Minute, gb, 11*gb, 10*gb), 0},
		{"it becomes more", app.Lasts(time.Hour, gb, 10*gb, 11*gb), 0},
		{"below the minimum", app.Lasts(time.Hour, 20*gb, 11*gb, 10*gb), 0},
		{"years", app.Lasts(time.Hour, gb, 11*gb, 11*gb-1), 0},
	}
	for _, tt := range tests {
		if d := tt.got - tt.want; d < -time.Second || d > time.Second {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestPerSecond(t *testing.T) {
	now := time.Unix(1_000_000_005, 0) // five seconds into an interval
	recent := make([]uint32, 30)
	for i := range recent {
		recent[i] = 10
	}
	recent[29] = 5
	if got := app.PerSecond(recent, now.Add(-time.Hour), now); got != 1 {
		t.Errorf("%v", got)
	}
	recent = append(make([]uint32, 29), 10)
	if got := app.PerSecond(recent, now.Add(-5*time.Second), now); got != 2 {
		t.Errorf("of a new recording: %v", got)
	}
}
