package main

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

func TestProbe(t *testing.T) {
	refused := &objstore.Error{Op: "x", Cause: "access denied", Permanent: true}
	for name, tt := range map[string]struct {
		op            string // that fails
		report, error string // contained
		left          int    // objects afterwards
	}{
		"works":                 {report: "put, read back, deleted"},
		"may not put":           {op: "upload", error: "access denied"},
		"may not look":          {op: "stat", error: "access denied"},
		"may not read":          {op: "open", error: "access denied"},
		"may not delete: is ok": {op: "delete", report: "could not be deleted", left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := objtest.NewMemory("b", false)
			bucket.SetFault(func(op, _ string) *objtest.Fault {
				if op == tt.op {
					return &objtest.Fault{Err: refused}
				}
				return nil
			})
			report, _, err := probe(t.Context(), bucket, testProject)
			if (err != nil) != (tt.error != "") || err != nil &&
				!strings.Contains(err.Error(), tt.error) {
				t.Errorf("error %v, want %q in it", err, tt.error)
			}
			if !strings.Contains(report, tt.report) {
				t.Errorf("report %q, want %q in it", report, tt.report)
			}
			bucket.SetFault(nil)
			left := 0
			for _, err := range bucket.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				left++
			}
			if left != tt.left {
				t.Errorf("%d objects are left, want %d", left, tt.left)
			}
		})
	}
}
