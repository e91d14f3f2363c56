// Package spool keeps recordings on the local disk until they are delivered.
//
//	<data>/lock                                   flock of the process that records
//	<data>/instance                               the name of this data directory's service
//	<data>/exclusions.json                        who is not recorded any more
//	<data>/recordings/<egress id>/recording.json  written before the recording begins
//	                              000001.seg …    append-only frames
//	                              sealed.json     nothing is appended any more
//	                              export.json     what will be delivered is fixed
//	                              uploaded.json   all of it was verified in the bucket
//	                              objects/        staging of derived objects, may vanish
//	<data>/quarantine/                            directories that are not valid recordings
//
// The files that exist determine the state of a recording. Each is written once and durably
// (package durable). Opening a spool always runs recovery; there is no separate clean-start path.
//
// Guarantees: once Append has returned nil, the frame survives the death of the process, because it
// went through write(2). Once Durable counts the frame, it survives a power failure, because an
// fdatasync of its segment and an fsync of the directory followed it. The shared syncer starts a
// sync at most SyncInterval after the write. Each frame on disk stays readable even if its
// neighbours are damaged: see docs/FORMAT.md, section 2.
//
// Data is synced by these deadlines:
//
//   - the current segment: at most SyncInterval after a write (syncer.go). The first sync of a
//     segment includes its directory (writer.go).
//   - a segment that the writer has rotated out: by the same deadline, before it is closed
//   - everything: before Seal, Close and Sync return
//   - a state file, with its directory: before the call that writes it returns (package durable)
//   - after a crash: the last segment before Resume returns. The syncer syncs earlier segments that
//     may not be durable. If no state lists them, Resume syncs all segments before it returns
//     (recover.go).
//   - objects/: never, because the objects can be derived again
//
// Lock order: a lock is never taken while one below it in this list is held. (openWriter takes the
// syncMu of a new writer under Recording.mu, before any other goroutine can hold it.)
//
//	Writer.syncMu      syncing, sealing, closing; held over fsync
//	Recording.stateMu  one writer of state files; held over their I/O
//	Writer.mu          one append; held over write(2), never over fsync
//	Recording.mu       the fields of a recording; never held over I/O
//	Spool.mu           the index of recordings; never held over I/O, except by Instance
//
// The locks of the syncer's queue and of package diskguard come last: no other lock is taken while
// they are held.
package spool
