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

// space reports unlimited space: only a failed write reveals a full disk.
func space(string) (Space, error) { return Space{Free: math.MaxInt64, Total: math.MaxInt64}, nil }
