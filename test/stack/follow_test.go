package stack

import (
	"os"
	"path/filepath"
	"testing"
)

// A line counts when it is whole.
func TestFollowLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &Recorder{Process: &Process{spec: ProcessSpec{Log: name}}}
	log, err := r.FollowLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, step := range []struct {
		written string
		want    []string // sessions
	}{
		{"", nil},
		{`{"msg":"joined","session_`, nil},
		{"id\":\"a\"}\nnot JSON\n{\"session_id\":\"b\"}\n{", []string{"a", "b"}},
		{"}\n", []string{""}},
		{"", nil},
	} {
		if _, err := f.WriteString(step.written); err != nil {
			t.Fatal(err)
		}
		got, err := log.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(step.want) {
			t.Fatalf("after %q there are %d lines, want %d", step.written, len(got), len(step.want))
		}
		for i, e := range got {
			if e.SessionID != step.want[i] {
				t.Errorf("after %q line %d is of session %q, want %q", step.written, i, e.SessionID,
					step.want[i])
			}
		}
	}
}

func TestHeapAlloc(t *testing.T) {
	if n, err := heapAlloc([]byte("heap profile: 1: 2 [3: 4] @ heap/1048576\n\n# " +
		"runtime.MemStats\n# Alloc = 5\n# HeapAlloc = 6789\n# HeapSys = 7\n")); err != nil ||
		n != 6789 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := heapAlloc([]byte("# HeapSys = 7\n")); err == nil {
		t.Error("a profile without it has a heap")
	}
}
