package session

import (
	"regexp"
	"strings"
)

var uuidForm = regexp.MustCompile(`^(?i:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// IsUUID reports whether s is a UUID with hyphens, in upper or lower case. SyncFlow's ids and the
// ids that LiveKit's SDKs generate have this form.
func IsUUID(s string) bool { return uuidForm.MatchString(s) }

// CanonicalUUID returns s as a UUID in lower case with hyphens, or "" if s is not a UUID. It
// accepts either case, braces and missing hyphens, because tools display UUIDs in these forms.
func CanonicalUUID(s string) string {
	s = strings.ReplaceAll(strings.ToLower(strings.Trim(strings.TrimSpace(s), "{}")), "-", "")
	if len(s) != 32 {
		return ""
	}
	s = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
	if !IsUUID(s) {
		return ""
	}
	return s
}
