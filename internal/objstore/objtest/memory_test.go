package objtest_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

func TestConformance(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(*testing.T) objstore.Bucket {
				return objtest.NewMemory("b",
					checksums)
			},
				objtest.Options{Checksums: checksums})
		})
	}
}

func TestFaults(t *testing.T) {
	lost := errors.New("connection reset")
	o := objstore.Bytes([]byte("content"), "text/plain")
	for name, tc := range map[string]struct {
		fault  objtest.Fault
		err    bool
		stored string
	}{
		"before it took effect": {objtest.Fault{Err: lost}, true, ""},
		"after it took effect":  {objtest.Fault{Err: lost, Applied: true}, true, "content"},
		"reset in the body":     {objtest.Fault{Err: lost, MidBody: true}, true, ""},
		"truncated, and a lie": {
			objtest.Fault{Damage: func(b []byte) []byte { return b[:3] }},
			false,
			"con",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := objtest.NewMemory("b", true)
			b.SetFault(func(string, string) *objtest.Fault { return &tc.fault })
			if err := b.Upload(t.Context(), "k", o); (err != nil) != tc.err || err != nil &&
				!errors.Is(err, lost) {
				t.Errorf("Upload = %v", err)
			}
			if got := string(b.Objects()["k"]); got != tc.stored {
				t.Errorf("stored %q, want %q", got, tc.stored)
			}
		})
	}
	t.Run("open breaks in the middle", func(t *testing.T) {
		b := objtest.NewMemory("b", true)
		b.Put("k", []byte("content"))
		b.SetFault(func(string, string) *objtest.Fault {
			return &objtest.Fault{
				Err:     lost,
				MidBody: true,
			}
		})
		r, err := b.Open(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); !errors.Is(err, lost) || !bytes.Equal(data, []byte("con")) {
			t.Errorf("read %q, %v", data, err)
		}
	})
}
