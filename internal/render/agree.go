package render

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"

	"github.com/syncflow/textegress"
)

// DisagreementError reports that a manifest and the files in raw/ do not belong to the same
// recording. Keys are the keys that differ.
type DisagreementError struct{ Keys []string }

func (e *DisagreementError) Error() string {
	return "manifest.json does not belong to the recording in raw/: they differ in " + strings.Join(e.Keys,
		", ")
}

// agree compares the manifest's description of the recording with the files in raw/.
func (d *delivered) agree(m textegress.Manifest) error {
	i, s := d.info, d.sealed
	var differ []string
	for _, part := range []struct {
		key    string
		a, b   any
		unless bool // it is not compared
	}{
		{"egress_id", m.EgressID, i.EgressID, false},
		{"project", m.Project, textegress.Project{ID: i.ProjectID, Name: i.ProjectName}, false},
		{"session.id", m.Session.ID, i.SessionID, false},
		{"session.room_name", m.Session.RoomName, i.RoomName, false},
		{"part", m.Part, i.Part, false},
		{"previous", m.Previous, i.Previous, false},
		{"instance", m.Instance, i.Instance, false},
		{"merged", m.Merged, i.Merged, len(m.Merged) == 0 && len(i.Merged) == 0},
		{"pseudonyms", m.Pseudonyms, i.Pseudonyms, false},
		{"status", m.Status, s.Status, !d.isSealed},
		{"reason", m.Reason, s.Reason, !d.isSealed},
		{"ended_unix_ns", m.EndedUnixNS, s.EndedUnixNS, !d.isSealed || s.EndedUnixNS == 0},
		{"completeness.suspect", m.Completeness.Suspect, s.Suspect, !d.isSealed},
	} {
		if !part.unless && !reflect.DeepEqual(part.a, part.b) {
			differ = append(differ, part.key)
		}
	}
	if len(differ) > 0 {
		return &DisagreementError{Keys: differ}
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
