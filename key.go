package textegress

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxName is the maximum length of an escaped name in bytes.
	MaxName = 200
	// maxTopicInView is the maximum length of the topic in the name of a text view, so that the
	// name stays within the 255 bytes that common file systems allow: 200 + "-" + 27 + "-" +
	// "2006-01-02T15:04:05UTC" + ".txt" = 255.
	maxTopicInView = 255 - MaxName - len("--2006-01-02T15:04:05UTC.txt")
	// cutMark is "~" and 12 hex digits of the SHA-256 of the raw name.
	cutDigits  = 12
	cutMarkLen = 1 + cutDigits

	allTopics = "all-topics"
	// unknownSender stands for a sender without an identity. No escaped name equals it, because a
	// "%" in a name becomes "%25".
	unknownSender = "%unknown"
	emptyName     = "%empty"
	upperHex      = "0123456789ABCDEF"
)

// EscapeName turns any name into one component of an object key. Ordinary names are unchanged. Only
// these are escaped, as %XX per byte: "%", "/", "\", control characters (U+0000–U+001F, U+007F,
// U+0080–U+009F), bytes that are not UTF-8, and the whole names "." and ".."; the empty name is
// "%empty". A result of more than MaxName bytes is cut between two characters and ends in "~" and
// the first 12 hex digits of the SHA-256 of the raw name.
//
// Different names give different components:
//   - Escaping alone can be undone, because every "%" of a name is escaped: a "%" in a component is
//     followed by two hex digits or begins "%empty".
//   - A cut component is longer than MaxName-13 bytes and ends like a cut one. A shorter name that
//     looks like a cut component is cut as well, so no uncut component equals a cut one.
//   - Two cut components are equal only if the names agree in 48 bits of their SHA-256. That does
//     not happen by chance, but somebody who chooses both names can cause it; a writer of keys must
//     not rely on EscapeName alone to keep two senders apart.
func EscapeName(s string) string { return escapeName(s, MaxName) }

func escapeName(s string, limit int) string {
	switch s {
	case "":
		return emptyName
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	var b strings.Builder
	cut := 0 // length of the longest prefix of whole characters that leaves room for the mark
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if mustEscape(r, n) {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteByte('%')
				b.WriteByte(upperHex[c>>4])
				b.WriteByte(upperHex[c&15])
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
		if b.Len() <= limit-cutMarkLen {
			cut = b.Len()
		} else if b.Len() > limit {
			break // the name will be cut, however long the rest is
		}
	}
	e := b.String()
	if len(e) <= limit && (len(e) <= limit-cutMarkLen || !looksCut(e)) {
		return e
	}
	sum := sha256.Sum256([]byte(s))
	return e[:cut] + "~" + hex.EncodeToString(sum[:cutDigits/2])
}

func mustEscape(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size == 1: // not UTF-8; a real U+FFFD has three bytes
		return true
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	}
	return r == '%' || r == '/' || r == '\\'
}

// looksCut reports whether e ends in "~" and 12 lower-case hex digits.
func looksCut(e string) bool {
	if len(e) < cutMarkLen || e[len(e)-cutMarkLen] != '~' {
		return false
	}
	return strings.Trim(e[len(e)-cutDigits:], "0123456789abcdef") == ""
}

// Prefix returns the prefix of a recording's objects, which ends in a slash:
// <project name>-<project id>/<room>/text-egress/<topic or all-topics>/<egress id>/.
// An empty topic means all topics.
func Prefix(projectName, projectID, roomName, topic, egressID string) string {
	return EscapeName(projectName+"-"+projectID) + "/" + EscapeName(roomName) + "/text-egress/" +
		topicName(topic, MaxName) + "/" + EscapeName(egressID) + "/"
}

// TextViewName returns the key, relative to the prefix, of the text view of one participant
// connection whose first message came at first: <identity>-<topic or
// all-topics>-<YYYY-MM-DDTHH:MM:SSUTC>.txt. The sender without identity is "%unknown". The topic is
// cut to 27 bytes as in EscapeName, so that the name has at most 255 bytes.
func TextViewName(identity, topic string, first time.Time) string {
	sender := unknownSender
	if identity != "" {
		sender = EscapeName(identity)
	}
	return sender + "-" + topicName(topic, maxTopicInView) + "-" +
		first.UTC().Format("2006-01-02T15:04:05UTC") + ".txt"
}

// FileName returns the key, relative to the prefix, of the content of a stream:
// files/<identity>/<stream id>-<name>. The sender without identity is "%unknown"; without a name
// the last component is the stream id alone. Different streams can have the same FileName; the
// writer must distinguish them.
func FileName(identity, streamID, name string) string {
	sender := unknownSender
	if identity != "" {
		sender = EscapeName(identity)
	}
	if name != "" {
		streamID += "-" + name
	}
	return FilesDir + sender + "/" + EscapeName(streamID)
}

func topicName(topic string, limit int) string {
	if topic == "" {
		return allTopics
	}
	return escapeName(topic, limit)
}
