// Package torture puts the real textegress binary, on real servers, through what may happen to it,
// and accounts for every message that was sent meanwhile.
//
// Senders number their messages. Whatever is killed, frozen, cut off or filled up, afterwards each
// message must be recorded exactly once, or the record must state that it may have been missed.
// Which of them it is, is judged by position and never by time; see [Judge]. Beside that:
// everything recorded is delivered, `textegress verify` confirms it, no object of a bucket is ever
// replaced by other bytes, the buckets have nothing but the recordings, and the log names no secret
// and no participant.
//
// The tests of this package run a short version of every scenario; `make torture` runs them all,
// again and again with other random numbers, until enough processes were killed.
package torture
