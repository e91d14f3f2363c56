package app

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
)

// TestDiskReasons: each trouble is named, with where it is and what to do.
func TestDiskReasons(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		disk  spool.DiskStatus
		state string
		says  [][]string // of each reason
	}{
		{
			"well",
			spool.DiskStatus{Status: diskguard.Status{Free: 1 << 40, MinFree: 256 << 20}},
			web.DiskOK, nil,
		},
		{
			"low",
			spool.DiskStatus{Status: diskguard.Status{
				Free: 100 << 20, MinFree: 256 << 20,
				Low: true, Since: at,
			}},
			web.DiskLow,
			[][]string{{
				"nearly full", "100 MiB", "/data", "DISK_MIN_FREE is 256 MiB",
				"free space outside",
			}},
		},
		{
			"full",
			spool.DiskStatus{Status: diskguard.Status{
				MinFree: 256 << 20, Low: true, Full: true,
				Since: at,
			}},
			web.DiskFull,
			[][]string{{
				"the disk is full", "0 MiB", "/data", "free space outside",
				"automatically",
			}},
		},
		{
			"failing",
			spool.DiskStatus{
				Status: diskguard.Status{Free: 1 << 40},
				FailedSyncs: []spool.FailedSync{
					{EgressID: "DE_a", At: at}, {EgressID: "DE_b", At: at},
				},
			},
			web.DiskOK,
			[][]string{
				{"DE_a", "2026-03-04T05:06:07Z", "suspect", "dmesg", "10 minutes"},
				{"DE_b"},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := diskReasons(tt.disk, "/data")
			if len(got) != len(tt.says) {
				t.Fatalf("%q, want %d reasons", got, len(tt.says))
			}
			for i, parts := range tt.says {
				for _, part := range parts {
					if !strings.Contains(got[i], part) {
						t.Errorf("%q does not say %q", got[i], part)
					}
				}
			}
			s := diskStatus(tt.disk)
			if s.State != tt.state || s.FreeBytes != tt.disk.Free ||
				s.MinFreeBytes != tt.disk.MinFree || !s.Since.Equal(tt.disk.Since) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestAwayReasons: what is announced and not joined is named after 15 s, a room that was lost too,
// and of very many only the first.
func TestAwayReasons(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	out := func(d time.Duration, packets uint64) recorder.Snapshot {
		return recorder.Snapshot{
			Info:      spool.Info{SessionID: "c1d2", RoomName: "class-1", Part: 1},
			AwaySince: now.Add(-d), JoinError: "room: joining: no way", Packets: packets,
		}
	}
	for _, tt := range []struct {
		name string
		in   []recorder.Snapshot
		says [][]string // of each reason
	}{
		{"in the room", []recorder.Snapshot{{}}, nil},
		{"not yet", []recorder.Snapshot{out(recorder.Patience-1, 0)}, nil},
		{"never joined", []recorder.Snapshot{out(recorder.Patience, 0)}, [][]string{
			{
				"project 3", "session c1d2", `room "class-1"`, "has not been joined",
				"since 2026-03-04T05:05:52Z", "no way",
			},
		}},
		{
			"lost",
			[]recorder.Snapshot{{}, out(time.Hour, 7)},
			[][]string{{"is not being recorded any more"}},
		},
		{
			"many", slices.Repeat([]recorder.Snapshot{out(time.Hour, 0)}, 50),
			append(slices.Repeat([][]string{{"session c1d2"}}, 10), []string{"40 more"}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := awayReasons(3, tt.in, now)
			if len(got) != len(tt.says) {
				t.Fatalf("%q, want %d reasons", got, len(tt.says))
			}
			for i, parts := range tt.says {
				for _, part := range parts {
					if !strings.Contains(got[i], part) {
						t.Errorf("%q does not say %q", got[i], part)
					}
				}
			}
		})
	}
}

// TestUnrecordedReasons: however many sessions run without us, the list is short.
func TestUnrecordedReasons(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	one := controller.UnrecordedSession{SessionRef: controller.SessionRef{
		SessionID: "c1d2",
		RoomName:  "class-1",
	}, Since: at}
	got := unrecordedReasons(3, slices.Repeat([]controller.UnrecordedSession{one}, 50))
	if len(got) != 11 || !strings.Contains(got[0], "2026-03-04T05:06:07Z") ||
		!strings.Contains(got[0], `room "class-1"`) || !strings.Contains(got[10], "40 more") {
		t.Errorf("%q", got)
	}
	if got := unrecordedReasons(3, nil); got != nil {
		t.Errorf("%q", got)
	}
}

func oneSource(s session.SourceState) []session.SourceState { return []session.SourceState{s} }

// TestMissedReasons: announcements that were lost are a reason only where the sessions cannot be
// looked for; that SyncFlow announces nothing is one.
func TestMissedReasons(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	gaps := []session.Gap{{From: at, To: at.Add(time.Minute)}}
	for _, tt := range []struct {
		name string
		in   controller.Snapshot
		says []string // of the only reason
	}{
		{"well", controller.Snapshot{ListError: "no list"}, nil},
		{
			"looked for",
			controller.Snapshot{Sources: oneSource(session.SourceState{Missed: gaps})},
			nil,
		},
		{"not looked for", controller.Snapshot{
			Sources:   oneSource(session.SourceState{Missed: gaps}),
			ListError: "no list",
		}, []string{
			"project 2", "between 2026-03-04T05:06:07Z and 2026-03-04T05:07:07Z",
			"textegress record", "no list",
		}},
		{
			"silent",
			controller.Snapshot{Sources: oneSource(session.SourceState{
				Connected: true,
				Silent:    at,
			})},
			[]string{"2026-03-04T05:06:07Z", "API has been restarted"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(missedReasons(2, tt.in), "\n")
			if (got == "") != (tt.says == nil) {
				t.Errorf("%q", got)
			}
			for _, part := range tt.says {
				if !strings.Contains(got, part) {
					t.Errorf("%q does not say %q", got, part)
				}
			}
		})
	}
}

// TestDiskNearlyFull: the setting arrives where it works, and a service on a disk
// that is too small for it is not ready and says why.
func TestDiskNearlyFull(t *testing.T) {
	for _, tt := range []struct {
		minFree int64
		ready   bool
	}{{1 << 20, true}, {1 << 60, false}} {
		dir := filepath.Join(t.TempDir(), "data")
		a, err := New(Options{
			Logger: slog.New(slog.DiscardHandler),
			Config: &config.Config{
				DataDir: dir, HTTPAddr: "127.0.0.1:0", DiskMinFree: tt.minFree,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := a.Status()
		if s.Ready != tt.ready || s.Disk.MinFreeBytes != uint64(tt.minFree) ||
			(s.Disk.State == web.DiskOK) != tt.ready {
			t.Errorf("DISK_MIN_FREE %d: ready %v, %v, %+v", tt.minFree, s.Ready, s.NotReady, s.Disk)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestProjectReasons: each names a cause, also before anything has failed.
func TestProjectReasons(t *testing.T) {
	listening := oneSource(session.SourceState{Connected: true})
	for want, snap := range map[string]controller.Snapshot{
		"project 2 is starting: SyncFlow has not " +
			"answered yet": {State: controller.StateStarting},
		"project 2 is retrying: read the project: no": {
			State: controller.StateRetrying, Error: "read the project: no",
		},
		"project 2: no connection to the broker: the first attempt has " +
			"not ended yet": {
			State:   controller.StateRunning,
			Sources: oneSource(session.SourceState{Name: "rabbitmq"}),
		},
		"project 2: no connection to the broker: refused": {
			State:   controller.StateRunning,
			Sources: oneSource(session.SourceState{Name: "rabbitmq", LastError: "refused"}),
		},
		"": {State: controller.StateRunning, Sources: listening},
	} {
		if got := strings.Join(projectReasons(2, "SyncFlow", snap), "\n"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
