package main

// Exit codes are part of the interface: docs/OPERATIONS.md and --help list them.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do its work
	exitUsage   = 2 // wrong arguments or configuration; nothing was tried
	exitFound   = 3 // the command did its work and found something wrong
)
