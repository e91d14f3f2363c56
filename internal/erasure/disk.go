package erasure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// disk is the condition of a recording on the disk.
type disk int

const (
	whole   disk = iota // complete
	damaged             // every segment exists, but at least one differs from its sealed state
	gone
)

// onDisk compares the segments of a delivered recording with their sealed state. The bucket has a
// copy that is deleted once the new revision is there, so the new revision must not be worse than
// the copy. Any other recording is complete on the disk.
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
