package app

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/spool"
)

// TestAbandoned: open recordings of a project that was removed from the settings, or renamed, are
// reported.
func TestAbandoned(t *testing.T) {
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for id, projectID := range map[string]string{
		"DE_aaaaaaaaaaaa": "school", "DE_bbbbbbbbbbbb": "livekit", "DE_cccccccccccc": "livekit",
	} {
		if _, err := s.Create(spool.Info{
			EgressID: id, ProjectID: projectID, SessionID: id, RoomName: "class",
		}); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := s.Create(spool.Info{
		EgressID: "DE_dddddddddddd", ProjectID: "gone", SessionID: "s", RoomName: "class",
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := sealed.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(spool.Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	got := abandoned([]managedProject{
		{Project: project.Project{Config: config.Project{ProjectID: "school"}}},
	}, s.Recordings())
	if len(got) != 1 || !strings.Contains(got[0], "project livekit is not in the settings") ||
		!strings.Contains(got[0], "and 1 others") || !strings.Contains(got[0], "NAME") {
		t.Errorf("%q", got)
	}
}
