package spool

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
)

// The names of the directories that hold the recordings of one room.
const (
	syncFlowDir = "text-egress" // see [textegress.Prefix]
	liveKitDir  = "data-egress"
)

// RoomPrefix returns the key prefix of a recording whose request chose a prefix, or of a project
// that is a LiveKit server: <project>/<room>/data-egress/<egress id>/, or
// <project>/<prefix>/<egress id>/ with the prefix of the request. Each component is escaped.
func (i Info) RoomPrefix(project string) string {
	parts := []string{project}
	if i.Prefix == "" {
		parts = append(parts, i.RoomName, liveKitDir)
	} else {
		parts = append(parts, strings.Split(i.Prefix, "/")...)
	}
	parts = append(parts, i.EgressID)
	for n, p := range parts {
		parts[n] = textegress.EscapeName(p)
	}
	return strings.Join(parts, "/") + "/"
}

// hasOwnPrefix reports whether KeyPrefix belongs to this recording alone: it ends with the egress
// id, and no component before that can be the egress id of another recording. In the two places
// that hold the name of a room, any name is accepted.
func (i Info) hasOwnPrefix() bool {
	path, slash := strings.CutSuffix(i.KeyPrefix, "/")
	if !slash || !fs.ValidPath(path) || strings.Contains(path, `\`) {
		return false
	}
	parts := strings.Split(path, "/")
	n := len(parts) - 1
	if n < 2 || parts[n] != textegress.EscapeName(i.EgressID) {
		return false
	}
	if n == 4 && parts[2] == syncFlowDir || n == 3 && parts[2] == liveKitDir {
		return true
	}
	return i.Prefix != "" && !slices.ContainsFunc(parts[:n], IsEgressID)
}

// WithOwnPrefix returns i with a KeyPrefix that belongs to this recording alone. It keeps a valid
// KeyPrefix and replaces any other with that of [textegress.Prefix].
func (i Info) WithOwnPrefix() Info {
	if !i.hasOwnPrefix() {
		i.KeyPrefix = textegress.Prefix(i.ProjectName, i.ProjectID, i.RoomName, i.Topic, i.EgressID)
	}
	return i
}

// PrefixOf returns the key prefix that another recording, with the given egress id, has in the same
// directory as this one.
func (i Info) PrefixOf(egressID string) string {
	own := i.WithOwnPrefix().KeyPrefix
	return strings.TrimSuffix(own, textegress.EscapeName(i.EgressID)+"/") +
		textegress.EscapeName(egressID) + "/"
}

// IsEgressID reports whether a name has the form of an egress id, see [NewEgressID].
func IsEgressID(name string) bool {
	id, ok := strings.CutPrefix(name, idPrefix)
	return ok && len(id) == idLen && strings.Trim(id, idAlphabet) == ""
}
