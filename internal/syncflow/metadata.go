package syncflow

import (
	"strings"

	"github.com/syncflow/textegress/internal/session"
)

// SessionOf returns the session id that SyncFlow writes into the metadata of the rooms it creates,
// `|session_id:<uuid>|project_id:<uuid>|comments:<text>|`, or "" if the metadata has another form.
// Only the beginning is parsed, because the comments are free text.
func SessionOf(r session.Room) string {
	rest, ok := strings.CutPrefix(r.Metadata, "|session_id:")
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(rest, "|")
	if !ok {
		return ""
	}
	return strings.ToLower(id)
}
