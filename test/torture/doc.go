// Package torture runs the real textegress binary on real servers, injects the faults that may
// happen in operation, and accounts for every message sent meanwhile.
//
// Senders number their messages. Whatever is killed, frozen, cut off or filled up, each message
// must afterwards be recorded exactly once, or the record must state that it may have been missed.
// The judgement uses positions, never times; see [Judge]. In addition, everything recorded is
// delivered, `textegress verify` confirms it, no object of a bucket is replaced by other bytes, the
// buckets contain only the recordings, and the log contains no secret and no participant's name.
//
// The tests of this package run a short version of every scenario; `make torture` runs all of them
// repeatedly with different random numbers, until enough processes were killed.
package torture
