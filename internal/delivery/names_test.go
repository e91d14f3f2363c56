package delivery_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/fsname/fsnametest"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
)

// TestADirectoryThatCannotHoldEveryName delivers a class of people whose names such a directory
// refuses or takes for one. It is delivered at once, as the first revision, and found by the keys
// of the manifest: through the bucket, and by a reader that knows the directory alone.
func TestADirectoryThatCannotHoldEveryName(t *testing.T) {
	for name, l := range map[string]fsnametest.Limited{
		"usual": {}, "NTFS": {Windows: true}, "without case": {Folded: true},
		"a share of Windows": {Windows: true, Folded: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, err := fsnametest.Open(t.TempDir(), l)
				if err != nil {
					t.Fatal(err)
				}
				defer root.Close()
				b := dir.On(root, "out")
				w := newWorld(t, true, "p1")
				w.wrap = func(objstore.Bucket) objstore.Bucket { return b }
				rec := w.classOf("class: 1?", "Alice", "alice", "ALICE", "a:b", "NUL", "e\u0301",
					"é", "who. ", `"<>|*\`)
				w.run()
				settle(time.Minute)
				if s := rec.State(); s != spool.StateUploaded {
					t.Fatalf("%s\n%s", s, w.log())
				}
				prefix := rec.Info().KeyPrefix
				for a, err := range b.List(t.Context(), prefix+"r") {
					rest := strings.TrimPrefix(a.Key, prefix)
					if err != nil || strings.HasPrefix(rest, "r2/") {
						t.Errorf("a second revision: %q, %v", a.Key, err)
					}
				}
				if l.Windows {
					prefix = textegress.PortableKey(prefix)
				}
				below, err := fs.Sub(root.FS(), strings.TrimSuffix(prefix, "/"))
				if err != nil {
					t.Fatal(err)
				}
				for reader, fsys := range map[string]fs.FS{"bucket": objfs.New(t.Context(), b,
					rec.Info().KeyPrefix), "directory": below} {
					got, err := textegress.Open(fsys)
					if err != nil {
						t.Fatalf("%s: %v", reader, err)
					}
					if err := got.Verify(t.Context(), nil); err != nil {
						t.Errorf("%s: %v", reader, err)
					}
				}
				w.shutDown()
			})
		})
	}
}

// classOf records one packet of each participant, all within a second, and seals it.
func (w *world) classOf(room string, identities ...string) *spool.Recording {
	w.t.Helper()
	var packets []*livekit.DataPacket
	for _, identity := range identities {
		packets = append(packets, said(identity, "PA_"+identity, "text of "+identity))
	}
	return w.recordPackets(spool.Info{
		EgressID: id, SessionID: "s-" + id, RoomName: room, ProjectID: "p1", ProjectName: "P",
		Part:      1,
		KeyPrefix: textegress.Prefix("P", "p1", room, "", id),
	}, packets...)
}
