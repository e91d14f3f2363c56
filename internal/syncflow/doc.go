// Package syncflow is a client of the SyncFlow HTTP API: the part of it that a recorder needs.
//
// It follows the behaviour of the SyncFlow server as it is, which differs from what HTTP would
// suggest in several places: an unknown session is a 500 with the message "Record not found", a
// running session whose room has gone is a 400 with "Room not found", registering a device twice
// makes two devices, and a registration that answered 500 may have been made.
//
// The server has five database connections and keeps one for every live session. The client is
// light on it: two requests at a time, generous timeouts, retries with growing pauses.
package syncflow
