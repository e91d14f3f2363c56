// Package spool keeps recordings on the local disk until they are delivered.
//
//	<data>/lock                                   flock of the process that records
//	<data>/instance                               the name of this data directory's service
//	<data>/recordings/<egress id>/recording.json  written before the recording begins
//	                              000001.seg …    append-only frames
//	                              sealed.json     nothing is appended any more
//	                              export.json     what will be delivered is fixed
//	                              uploaded.json   all of it was verified in the bucket
//	                              objects/        staging of derived objects, may vanish
//	<data>/quarantine/                            directories that are no recordings
//
// The state of a recording is which of its files exist; each is written once and
// durably (package durable). There is no clean start: opening is recovering.
//
// What the caller may rely on: when Append has returned nil, the frame survives
// the death of the process, because it went through write(2). When it is counted
// by Durable it survives a power failure, because an fdatasync of its segment
// and an fsync of the directory came after it; the shared syncer begins one at
// most SyncInterval after the write. What is on disk stays readable frame by
// frame, whatever happens to its neighbours: see docs/FORMAT.md, section 2.
package spool
