package stack

import (
	"testing"
)

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
