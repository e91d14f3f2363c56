// Package syncflow is a client for the part of the SyncFlow HTTP API that a recorder needs.
//
// It follows the actual behaviour of the SyncFlow server, which differs in several places from what
// HTTP suggests:
//
//   - An unknown session is a 500 with the message "Record not found".
//   - A running session whose room is gone is a 400 with "Room not found".
//   - Registering a device twice creates two devices.
//   - A registration that is answered with a 500 may have taken effect.
//
// The server has five database connections and keeps one for every live session. The client
// therefore keeps its load low: one request at a time as a rule (see [Gate]), generous timeouts,
// retries with growing pauses.
package syncflow
