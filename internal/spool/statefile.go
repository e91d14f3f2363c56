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

// DecodeInfo decodes a recording.json by the rules of [textegress.DecodeJSON]. The egress id of the
// result is a plain name.
func DecodeInfo(b []byte) (Info, error) {
	var info Info
	if err := textegress.DecodeJSON(b, &info); err != nil {
		return Info{}, fmt.Errorf("%s: %w", recordingName, err)
	}
	switch {
	case info.FormatVersion < 1:
		return Info{}, fmt.Errorf("%s: format_version is missing", recordingName)
	case info.FormatVersion > FormatVersion:
		return Info{}, fmt.Errorf("%s: %w", recordingName, &newerError{info.FormatVersion})
	case !validEgressID(info.EgressID):
		return Info{}, fmt.Errorf("%s: the egress id is not a plain file name", recordingName)
	}
	return info, nil
}

// newerError reports that a newer program wrote a state file.
type newerError struct{ version int }

func (e *newerError) Error() string {
	return fmt.Sprintf("format version %d, this program supports %d", e.version, FormatVersion)
}

// DecodeSealed decodes a sealed.json by the rules of [textegress.DecodeJSON]. The segments of the
// result have valid names, in order, and plausible figures.
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

// hasOwnPrefix reports whether KeyPrefix belongs to this recording alone: it has the form of
// [textegress.Prefix] and ends with the egress id.
func (i Info) hasOwnPrefix() bool {
	parts := strings.Split(i.KeyPrefix, "/")
	return len(parts) == 6 && parts[2] == "text-egress" &&
		parts[4] == textegress.EscapeName(i.EgressID) && parts[5] == "" &&
		fs.ValidPath(strings.TrimSuffix(i.KeyPrefix, "/")) && !strings.Contains(i.KeyPrefix, `\`)
}

// WithOwnPrefix returns i with a KeyPrefix that belongs to this recording alone. It keeps a valid
// KeyPrefix and replaces any other with that of [textegress.Prefix].
func (i Info) WithOwnPrefix() Info {
	if !i.hasOwnPrefix() {
		i.KeyPrefix = textegress.Prefix(i.ProjectName, i.ProjectID, i.RoomName, i.Topic, i.EgressID)
	}
	return i
}

// same reports whether i and other encode to the same recording.json.
func (i Info) same(other Info) bool {
	a, err := encodeState(i)
	b, err2 := encodeState(other)
	return errors.Join(err, err2) == nil && bytes.Equal(a, b)
}
