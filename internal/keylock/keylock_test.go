package keylock_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/syncflow/textegress/internal/keylock"
)

func TestMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m keylock.Mutex[string]
		unlock := m.Lock("a")
		m.Lock("b")() // another key does not wait

		inside, entered := 0, 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				defer m.Lock("a")()
				if inside++; inside > 1 { // the race detector watches this too
					t.Error("two at once for one key")
				}
				entered++
				inside--
			})
		}
		synctest.Wait()
		if entered != 0 {
			t.Errorf("%d entered while the key was locked", entered)
		}
		unlock()
		wg.Wait()
		if entered != 10 {
			t.Errorf("%d of 10 entered", entered)
		}
	})
}
