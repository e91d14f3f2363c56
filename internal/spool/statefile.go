package spool

import (
	"bytes"
	"errors"
	"fmt"

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

// same reports whether i and other encode to the same recording.json.
func (i Info) same(other Info) bool {
	a, err := encodeState(i)
	b, err2 := encodeState(other)
	return errors.Join(err, err2) == nil && bytes.Equal(a, b)
}
