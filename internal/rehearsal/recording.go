package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
	"github.com/syncflow/textegress/segment"
)

// stored counts the packets of the recording that are on the disk.
func (r *rehearsal) stored(ctx context.Context) (int, error) {
	sources, err := r.rec.Sources(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for f, err := range segment.Read(sources) {
		if err != nil {
			return n, err
		}
		if f.Type == segment.FramePacket && bytes.Contains(f.Payload, []byte(r.mark)) {
			n++
		}
	}
	return n, nil
}

// reason is why a recording without a room ended.
const reason = "rehearsal"

// write makes a recording of the messages without a room.
func (r *rehearsal) write(context.Context) (string, error) {
	info := r.o.Info
	info.SessionID, info.RoomName = "rehearsal-"+r.mark, roomPrefix+r.mark
	info.EgressID = spool.NewEgressID()
	info.KeyPrefix = r.o.KeyPrefix(info)
	rec, err := r.o.Spool.Create(info)
	if err != nil {
		return "", err
	}
	r.rec = rec
	w, err := rec.Writer()
	if err != nil {
		return "", err
	}
	if err := r.fill(w); err != nil {
		return "", errors.Join(err, w.Close())
	}
	err = w.Seal(spool.Sealed{
		Status: textegress.StatusComplete, Reason: reason,
	})
	if err != nil {
		return "", err
	}
	r.o.Sealed()
	return fmt.Sprintf("recording %s with %d messages is on the disk", rec.ID(),
		len(r.messages)), nil
}

// fill writes the frames of a recording without a room.
func (r *rehearsal) fill(w *spool.Writer) error {
	event := func(ev segment.Event) error {
		b, err := segment.EncodeEvent(ev)
		if err != nil {
			return err
		}
		return w.Append(segment.Frame{
			Type: segment.FrameEvent, UnixNS: time.Now().UnixNano(), Payload: b,
		})
	}
	err := event(segment.Event{Kind: segment.KindRecordingStarted, Source: "rehearsal", Part: 1})
	if err != nil {
		return err
	}
	for _, m := range r.messages {
		for _, p := range m.packets {
			b, err := proto.Marshal(withKind(p, m.channel))
			if err != nil {
				return fmt.Errorf("encode the %s: %w", m.what, err)
			}
			err = w.Append(segment.Frame{
				Type: segment.FramePacket, Channel: segment.Channel(m.channel),
				UnixNS: time.Now().UnixNano(), Payload: b,
			})
			if err != nil {
				return err
			}
		}
	}
	return event(segment.Event{
		Kind: segment.KindRecordingEnded, Status: string(textegress.StatusComplete),
		Reason: reason,
	})
}

// deliver waits until the recording is delivered and every object was verified in the bucket.
func (r *rehearsal) deliver(ctx context.Context) (string, error) {
	var up delivery.Uploaded
	failing, failed := time.Time{}, ""
	err := poll(ctx, func() (bool, string) {
		loaded, ok, err := delivery.LoadUploaded(r.rec)
		if err != nil {
			return false, err.Error()
		}
		up = loaded
		failed = r.o.UploadError(r.rec.ID())
		switch {
		case failed == "":
			failing = time.Time{}
		case failing.IsZero():
			failing = time.Now()
		}
		// retries continue, but the person who waits learns of the cause
		stop := !failing.IsZero() && time.Since(failing) > failingFor
		return ok || stop, "the recording is not delivered yet"
	})
	switch {
	case up.Prefix == "" && failed != "":
		return "", fmt.Errorf("the recording is not delivered: %s", failed)
	case err != nil:
		return "", err
	}
	r.prefix = up.Prefix
	return fmt.Sprintf("%d objects, %d bytes, each verified in %s below %s", up.Objects, up.Bytes,
		up.Bucket, up.Prefix), nil
}

// readBack verifies the delivered recording, and compares its messages with what was sent.
func (r *rehearsal) readBack(ctx context.Context) (string, error) {
	fsys := objfs.New(ctx, r.o.Bucket, r.prefix)
	report, err := verify.Recording(ctx, fsys, verify.Options{})
	if err != nil {
		return "", err
	}
	if !report.OK {
		return "", fmt.Errorf("the delivered recording is not as its manifest says: %s",
			report.Problems[0])
	}
	f, err := textegress.OpenObject(fsys, textegress.EventsName)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	found := make([]int, len(r.messages))
	for m, err := range textegress.ReadMessages(f) {
		if err != nil {
			return "", fmt.Errorf("read %s: %w", textegress.EventsName, err)
		}
		for i, sent := range r.messages {
			if sent.is(m) {
				found[i]++
			}
		}
	}
	for i, n := range found {
		if n != 1 {
			return "", fmt.Errorf("the %s is in %s %d times instead of once", r.messages[i].what,
				textegress.EventsName, n)
		}
	}
	return fmt.Sprintf("all %d messages are in the bucket as they were sent", len(found)), nil
}

// remove removes the recording from the bucket and from the disk. It does nothing, and returns no
// detail, if there is no recording.
func (r *rehearsal) remove(ctx context.Context) (string, error) {
	if r.rec == nil {
		return "", nil
	}
	if r.prefix == "" {
		return "", fmt.Errorf("recording %s stays: it is not delivered yet, and will be once the "+
			"cause is mended; its prefix in the store will be %s", r.rec.ID(),
			r.rec.Info().KeyPrefix)
	}
	var keys []string
	for attrs, err := range r.o.Bucket.List(ctx, r.prefix) {
		if err != nil {
			return "", fmt.Errorf("list the objects below %s: %w", r.prefix, err)
		}
		keys = append(keys, attrs.Key)
	}
	for _, key := range keys {
		if err := r.o.Bucket.Delete(ctx, key); err != nil {
			return "", fmt.Errorf("%d objects stay below %s, remove them by hand: %s",
				len(keys), r.prefix, objstore.Redacted(err, "the store does not let us delete"))
		}
	}
	if err := r.rec.RemoveData(); err != nil {
		return "", err
	}
	done := fmt.Sprintf("deleted %d objects from the store, and the recording from the disk",
		len(keys))
	// The service reports the recording to webhooks from its state files.
	held, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	if poll(held, func() (bool, string) { return !r.o.Hold(r.rec), "" }) != nil {
		return done + "; its small state files stay until the webhooks have been told", nil
	}
	return done, r.rec.Delete()
}
