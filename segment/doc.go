// Package segment reads and writes the canonical record of a recording: everything received in one
// LiveKit session, byte for byte, with its reception time.
//
// The record is a sequence of frames, numbered 1, 2, 3 … by their index. A [Frame] holds one packet
// as LiveKit delivered it, or one [Event] of the recorder. Frames are stored in segment files
// (000001.seg, 000002.seg …), which are append-only. [Read] and [Reader] read them in order and
// report damaged and missing frames.
//
// docs/FORMAT.md, section 2, specifies the bytes. This package uses only the standard library.
package segment
