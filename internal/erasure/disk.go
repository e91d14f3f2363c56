package erasure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// What the disk has of a recording.
type disk int

const (
	whole   disk = iota // all there is
	damaged             // every segment, and one of them is not as it was when it was sealed
	gone
)

// onDisk compares the segments of a recording that was delivered with what was sealed: the bucket
// has a copy, which is deleted when the new revision is there, so nothing worse may take its place.
// Of any other recording the disk has all there is.
func onDisk(ctx context.Context, rec *spool.Recording) (disk, error) {
	switch rec.State() {
	case spool.StateRemoved:
		return gone, nil
	case spool.StateUploaded:
	default:
		return whole, nil
	}
	segments, err := rec.SealedSources(ctx)
	if err != nil {
		return gone, err
	}
	found := whole
	for _, seg := range segments {
		if seg.Open == nil {
			return gone, nil
		}
		if !unchanged(seg) {
			found = damaged
		}
		if ctx.Err() != nil {
			return gone, context.Cause(ctx)
		}
	}
	return found, nil
}

func unchanged(seg segment.Source) bool {
	was := seg.Expected
	if was == nil || was.Name != "" && was.SHA256 == "" {
		return true // nothing was measured
	}
	r, err := seg.Open()
	if err != nil {
		return false
	}
	defer r.Close() //nolint:errcheck // reading only
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, was.Size+1))
	return err == nil && n == was.Size && hex.EncodeToString(sum.Sum(nil)) == was.SHA256
}
