// Package textegress is the recording format of the textegress service: the data channel traffic of
// one LiveKit session, with a statement of what was captured and what was not.
//
// A delivered recording is a set of objects below one prefix, in a bucket or in
// a directory. Its [Manifest] is written last and lists every other object with
// size and SHA-256. The canonical view of it, events.jsonl, has one [Message]
// per line, in the order in which the recorder received it.
//
//	root, err := os.OpenRoot("downloaded/prefix")
//	rec, err := textegress.Open(root.FS())
//	for m, err := range rec.Messages() { … }
//
// Messages are derived from the canonical record, the raw segments: [Recording.Segments] and
// package segment read them.
//
// docs/FORMAT.md specifies every object. This package needs only the standard library and uses no
// network.
package textegress
