package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// harness is shared by all tests.
var harness *Harness

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		dir, err := os.MkdirTemp("", "textegress-torture-")
		if err == nil {
			harness, err = NewHarness(ctx, dir, 1, len(Scenarios()))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer harness.Close(context.WithoutCancel(ctx))
		// Scenarios wait far more than they compute.
		flag.Parse()
		if err := flag.Set("test.parallel", fmt.Sprint(len(Scenarios()))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if code != 0 {
			fmt.Fprintf(os.Stderr, "the data is kept in %s\n", dir)
		} else if err := errors.Join(harness.Close(ctx), os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// The short version of every scenario. Those that disturb only their own recorder play at the same
// time, each in a project of its own.
func TestTorture(t *testing.T) {
	harness.Log = func(format string, args ...any) { t.Logf(format, args...) }
	defer func() { harness.Log = nil }()
	t.Run("together", func(t *testing.T) { play(t, false) })
	t.Run("alone", func(t *testing.T) { play(t, true) })
	t.Log(harness.Summary())
	t.Log(harness.Details())
}

func play(t *testing.T, alone bool) {
	for i, s := range Scenarios() {
		if s.Alone != alone || s.LongOnly {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if !alone {
				t.Parallel()
			}
			if err := harness.Play(t.Context(), s, 0, i); err != nil {
				t.Error(err)
			}
		})
	}
}
