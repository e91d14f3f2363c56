package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// DecodeInfo reads a recording.json, with the rules of [textegress.DecodeJSON].
// What it returns has an egress id that is a plain name.
func DecodeInfo(b []byte) (Info, error) {
	var info Info
	if err := textegress.DecodeJSON(b, &info); err != nil {
		return Info{}, fmt.Errorf("%s: %w", recordingName, err)
	}
	switch {
	case info.FormatVersion < 1:
		return Info{}, fmt.Errorf("%s: no format version", recordingName)
	case info.FormatVersion > FormatVersion:
		return Info{}, fmt.Errorf("%s: %w", recordingName, &newerError{info.FormatVersion})
	case !validEgressID(info.EgressID):
		return Info{}, fmt.Errorf("%s: the egress id is not a plain name", recordingName)
	}
	return info, nil
}

// newerError says that a newer program wrote a state file.
type newerError struct{ version int }

func (e *newerError) Error() string {
	return fmt.Sprintf("format version %d, this program knows %d", e.version, FormatVersion)
}

// DecodeSealed reads a sealed.json, with the rules of [textegress.DecodeJSON]. The
// segments that it returns have names of segments, in order, and figures that are
// possible.
func DecodeSealed(b []byte) (Sealed, error) {
	var s Sealed
	if err := textegress.DecodeJSON(b, &s); err != nil {
		return Sealed{}, fmt.Errorf("%s: %w", sealedName, err)
	}
	if err := segment.CheckInfos(s.Segments); err != nil {
		return Sealed{}, fmt.Errorf("%s: %w", sealedName, err)
	}
	return s, nil
}

// hasOwnPrefix reports whether KeyPrefix is one of this recording alone: of the form
// of [textegress.Prefix], with its egress id at the end.
func (i Info) hasOwnPrefix() bool {
	parts := strings.Split(i.KeyPrefix, "/")
	return len(parts) == 6 && parts[2] == "text-egress" &&
		parts[4] == textegress.EscapeName(i.EgressID) && parts[5] == "" &&
		fs.ValidPath(strings.TrimSuffix(i.KeyPrefix, "/")) && !strings.Contains(i.KeyPrefix, `\`)
}

// WithOwnPrefix returns i with a KeyPrefix that is one of this recording alone: its own where it
// has one, else that of [textegress.Prefix].
func (i Info) WithOwnPrefix() Info {
	if !i.hasOwnPrefix() {
		i.KeyPrefix = textegress.Prefix(i.ProjectName, i.ProjectID, i.RoomName, i.Topic, i.EgressID)
	}
	return i
}

// same reports whether two recording.json say the same.
func (i Info) same(other Info) bool {
	a, err := encodeState(i)
	b, err2 := encodeState(other)
	return errors.Join(err, err2) == nil && bytes.Equal(a, b)
}
