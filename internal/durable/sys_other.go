//go:build !linux

package durable

import (
	"errors"
	"math"
	"os"
)

func datasync(f *os.File) error { return f.Sync() }

func startSync(*os.File) error { return nil }

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// space reports nothing: a full disk is noticed when a write fails.
func space(string) (Space, error) { return Space{Free: math.MaxInt64, Total: math.MaxInt64}, nil }
