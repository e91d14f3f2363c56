package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lk "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// secrets are the identity and name of the participant, and what she sent.
var secrets = []string{
	"secret-alice", "Alice Secret", "PA_secret", "secret text", "secret-file.txt", "secret-topic",
	"p-0001", "i-0001",
}

type oneProject struct{ bucket objstore.Bucket }

func (p oneProject) Bucket(string) (objstore.Bucket, error)         { return p.bucket, nil }
func (oneProject) Keys(string) *render.Keys                         { return nil }
func (oneProject) Pseudonyms(spool.Info) (redact.Pseudonyms, error) { return pseudonyms{}, nil }

type pseudonyms struct{}

func (pseudonyms) Of(string) string    { return "p-0001" }
func (pseudonyms) ID(string) string    { return "i-0001" }
func (pseudonyms) Save([]string) error { return nil }

// talk records a participant with a message and a file.
func talk(t *testing.T, w *spool.Writer) {
	t.Helper()
	for _, e := range []segment.Event{
		{Kind: segment.KindJoined, RoomSID: "RM_x"},
		{
			Kind: segment.KindParticipantJoined, Identity: "secret-alice", Name: "Alice Secret",
			ParticipantSID: "PA_secret",
		},
	} {
		b, err := segment.EncodeEvent(e)
		if err == nil {
			err = w.Append(segment.Frame{Type: segment.FrameEvent, UnixNS: 1, Payload: b})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*lk.DataPacket{
		{Value: &lk.DataPacket_User{User: &lk.UserPacket{
			Payload: []byte("secret text"), Topic: new("secret-topic"),
		}}},
		{Value: &lk.DataPacket_StreamHeader{StreamHeader: &lk.DataStream_Header{
			StreamId: "st", MimeType: "text/plain", TotalLength: proto.Uint64(11),
			ContentHeader: &lk.DataStream_Header_ByteHeader{
				ByteHeader: &lk.DataStream_ByteHeader{Name: "secret-file.txt"},
			},
		}}},
		{Value: &lk.DataPacket_StreamChunk{StreamChunk: &lk.DataStream_Chunk{
			StreamId: "st", Content: []byte("secret text"),
		}}},
		{Value: &lk.DataPacket_StreamTrailer{
			StreamTrailer: &lk.DataStream_Trailer{StreamId: "st"},
		}},
	} {
		p.ParticipantIdentity, p.ParticipantSid = "secret-alice", "PA_secret"
		b, err := proto.Marshal(p)
		if err == nil {
			err = w.Append(segment.Frame{
				Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1, UnixNS: 2,
				Payload: b,
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingAboutParticipants: events, their files and the log contain no participants and no
// payload, with and without pseudonyms. A request to erase a participant need not change them.
func TestNothingAboutParticipants(t *testing.T) {
	for _, pseudonymised := range []bool{false, true} {
		t.Run(fmt.Sprint("pseudonyms ", pseudonymised), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.disk = nil
				dir := filepath.Join(t.TempDir(), "data")
				var err error
				if w.spool, err = spool.Open(dir, spool.Options{}); err != nil {
					t.Fatal(err)
				}
				defer w.spool.Close()
				w.n = New(Options{
					Spool: w.spool,
					Projects: func() map[string]Project {
						return map[string]Project{"p": *w.project}
					},
				})
				w.n.client.Transport = w.web
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.n.Run(ctx) }()
				settle(time.Second)
				w.web.set(func(_ context.Context, _ string, e *lk.WebhookEvent) (int, error) {
					names, err := filepath.Glob(filepath.Join(dir, "webhooks", "*"))
					if err != nil || len(names) < 2 {
						t.Errorf("files: %q, %v", names, err)
					}
					for _, name := range names {
						b, err := os.ReadFile(name)
						if err == nil {
							free(t, string(b))
						}
					}
					return 200, nil
				})
				rec, err := w.spool.Create(spool.Info{
					EgressID: "DE_1", SessionID: "s", RoomName: "class 1", ProjectID: "p",
					KeyPrefix:  textegress.Prefix("P", "p", "class 1", "", "DE_1"),
					Pseudonyms: pseudonymised,
				})
				if err != nil {
					t.Fatal(err)
				}
				writer, err := rec.Writer()
				if err != nil {
					t.Fatal(err)
				}
				talk(t, writer)
				settle(time.Minute)
				if err := writer.Seal(spool.Sealed{
					Status: textegress.StatusFailed, Reason: "duplicate_identity",
				}); err != nil {
					t.Fatal(err)
				}
				bucket := objtest.NewMemory("b", true)
				d := delivery.New(delivery.Options{
					Spool: w.spool, Projects: oneProject{bucket}, Retention: -1,
					Delivered: w.n.Wake,
				})
				if err := d.Deliver(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				w.web.check()
				if got := w.web.got(urlA, false); len(got) != 4 || got[3] != "DE_1 FAILED" {
					t.Errorf("%q", got)
				}
				named := false
				for key := range bucket.Objects() {
					named = named || strings.Contains(key, "secret-alice") ||
						strings.Contains(key, "p-0001")
				}
				if !named {
					t.Error("no key of the delivery names the participant: the test proves nothing")
				}
				for _, r := range w.web.requests {
					free(t, r.body)
				}
				free(t, w.log())
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// free checks that a text contains no secret.
func free(t *testing.T, text string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
}
