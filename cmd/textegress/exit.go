package main

import (
	"errors"
	"fmt"

	"github.com/syncflow/textegress/internal/config"
)

// Exit codes are part of the interface: docs/OPERATIONS.md and --help list them.
const (
	exitOK       = 0
	exitFailure  = 1 // the command could not do its work
	exitUsage    = 2 // invalid arguments or configuration; nothing was tried
	exitProblems = 3 // the command did its work; problems were found or work remains
)

// codedError is an error with its own exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func usageError(err error) error { return &codedError{exitUsage, err} }

func problemsFoundError(format string, args ...any) error {
	return &codedError{exitProblems, fmt.Errorf(format, args...)}
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	if _, ok := errors.AsType[*config.ProblemsError](err); ok {
		return exitUsage
	}
	return exitFailure
}
