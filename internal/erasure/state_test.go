package erasure_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Somebody whom nothing but a recorder's state names, because the frames that told of them are
// damaged, is found and removed.
func TestForgetWhoIsInAState(t *testing.T) {
	for name, state := range map[string]segment.State{
		"present": {Present: []segment.Present{{ParticipantSID: "PA_bob", Identity: bob}}},
		"counted": {People: []segment.Person{{ParticipantSID: "PA_bob", Identity: bob}}},
	} {
		t.Run(name, func(t *testing.T) { testForgetWhoIsInAState(t, state) })
	}
}

func testForgetWhoIsInAState(t *testing.T, state segment.State) {
	t.Helper()
	w := newWorld(t, objtest.NewMemory("b", true))
	rec, err := w.spool.Create(spool.Info{
		EgressID: "DE_1", SessionID: "s", RoomName: "room", ProjectID: "p", ProjectName: "Study",
		KeyPrefix:     textegress.Prefix("Study", "p", "room", "", "DE_1"),
		CreatedUnixNS: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	wr, err := rec.Resume(&present{state})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, 1000, 1000} {
		if err := wr.Append(segment.Frame{
			Type: segment.FramePacket, Payload: make([]byte, size),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := wr.Seal(spool.Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if len(w.traces()) == 0 {
		t.Fatal("no state names the participant")
	}
	a := w.forget(erasure.Request{})
	if got := outcomes(a); !cmp.Equal(got, []string{"DE_1 forgotten r1"}) || a.Recordings[0].Lines > 0 {
		t.Errorf("%v, %d lines", got, a.Recordings[0].Lines)
	}
	if got := w.traces(); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
}
