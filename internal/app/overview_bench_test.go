package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
)

// BenchmarkOverview measures what an open page costs with a thousand sessions of 30 people and a
// hundred thousand past recordings. It takes minutes to set up:
//
//	go test ./internal/app -run '^$' -bench Overview -benchtime 20x
func BenchmarkOverview(b *testing.B) {
	const sessions, people, past = 1000, 30, 100_000
	w := newWorld(b)
	w.env(w.token(), w.directory(0, projectA, "out"), "LOG_LEVEL=error")
	for i := range past {
		writePast(b, w, i)
	}
	w.start()
	for i := range sessions {
		c := w.record(projectA, i+1)
		for p := range people {
			c.Handler.Event(room.Event{
				Type: room.ParticipantJoined, At: time.Now(),
				Participant: room.Participant{
					Identity: fmt.Sprintf("p%d", p), SID: fmt.Sprintf("PA_%d", p),
				},
			})
		}
	}
	for _, path := range []string{"status", "recordings", "recordings?q=room-99"} {
		b.Run(path, func(b *testing.B) {
			size := 0
			for b.Loop() {
				code, body := w.ask(path, true, nil)
				if code != 200 {
					b.Fatal(body)
				}
				size = len(body)
				w.app.ForgetOverview()
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(size), "B/answer")
			b.ReportMetric(float64(m.HeapAlloc>>20), "MiB-heap")
		})
	}
}

// writePast writes the state files that remain of a delivered recording. They need not be durable.
func writePast(b *testing.B, w *world, n int) {
	b.Helper()
	at := time.Now().Add(-time.Duration(n) * time.Minute).UnixNano()
	info := spool.Info{
		FormatVersion: 1, EgressID: fmt.Sprintf("DE_past%08d", n), Part: 1,
		SessionID: sessionID(1_000_000 + n), RoomName: fmt.Sprintf("room-%d", n),
		ProjectID: projectA, CreatedUnixNS: at, KeyPrefix: "x/",
	}.WithOwnPrefix()
	plan := delivery.Plan{
		FormatVersion: 1, Revision: 1, Prefix: info.KeyPrefix,
		Summary: &delivery.Summary{Captured: "nothing known to be missing", Level: "ok"},
		Objects: []textegress.Object{{
			Key: textegress.ManifestName, Size: 1, SHA256: strings.Repeat("ab", 32),
		}},
	}
	dir := filepath.Join(w.dir, "textegress-data", "recordings", info.EgressID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	for name, v := range map[string]any{
		"recording.json": info,
		"sealed.json": spool.Sealed{
			Status: textegress.StatusComplete, EndedUnixNS: at + 1,
		},
		"export.json": plan,
		"uploaded.json": delivery.Uploaded{
			FormatVersion: 1, Revision: 1, Bucket: "directory out", Prefix: plan.Prefix,
			UploadedUnixNS: time.Now().UnixNano(),
		},
	} {
		data, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
