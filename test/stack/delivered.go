package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/syncflow/textegress"
)

// Delivered is a delivered recording, read from the S3 server's object directory or from the
// recorder's own directory of recordings.
type Delivered struct {
	*textegress.Recording
	Dir    string // directory of the objects
	Key    string // the prefix in the bucket or directory, with a slash at the end
	Bucket string // empty without one
}

// Delivered returns the recordings of a session whose manifest is in the bucket, in the order of
// their parts.
func (s *Stack) Delivered(p Project, sessionID string) ([]Delivered, error) {
	return deliveredIn(s.S3.BucketDir(p.Bucket), p.Bucket, sessionID)
}

// DeliveredLocally returns the recordings of a session that a recorder without a bucket has
// delivered to its directory "recordings", in the order of their parts. An empty id stands for all
// sessions.
func (r *Recorder) DeliveredLocally(sessionID string) ([]Delivered, error) {
	return deliveredIn(filepath.Join(r.Dir, "recordings"), "", sessionID)
}

func deliveredIn(root, bucket, sessionID string) ([]Delivered, error) {
	var out []Delivered
	root, err := filepath.Abs(root) // for commands that run in another directory
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return nil // nothing has been delivered yet
		}
		if err != nil || d.IsDir() || d.Name() != textegress.ManifestName {
			return err
		}
		dir := filepath.Dir(path)
		rec, err := textegress.Open(os.DirFS(dir))
		if err != nil {
			return err
		}
		if sessionID == "" || rec.Manifest().Session.ID == sessionID {
			rel, err := filepath.Rel(root, dir)
			if err != nil {
				return err
			}
			out = append(out, Delivered{rec, dir, filepath.ToSlash(rel) + "/", bucket})
		}
		return nil
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Manifest().Part < out[j].Manifest().Part })
	return out, err
}

// AwaitDelivered waits until n recordings of a session are in the bucket and the recorder has
// verified them.
func (s *Stack) AwaitDelivered(ctx context.Context, r *Recorder, p Project, sessionID string,
	n int,
) ([]Delivered, error) {
	return awaitDelivered(ctx, r, sessionID, n, func() ([]Delivered, error) {
		return s.Delivered(p, sessionID)
	})
}

// AwaitDeliveredLocally is Stack.AwaitDelivered for a recorder without a bucket.
func (r *Recorder) AwaitDeliveredLocally(ctx context.Context, sessionID string, n int) ([]Delivered,
	error,
) {
	return awaitDelivered(ctx, r, sessionID, n, func() ([]Delivered, error) {
		return r.DeliveredLocally(sessionID)
	})
}

func awaitDelivered(ctx context.Context, r *Recorder, sessionID string, n int,
	read func() ([]Delivered, error),
) ([]Delivered, error) {
	done := func(st RecorderStatus) bool {
		uploaded := 0
		for _, rec := range st.Recordings {
			if rec.SessionID == sessionID && (rec.State == "uploaded" || rec.State == "removed") {
				uploaded++
			}
		}
		return uploaded >= n
	}
	if err := r.Until(ctx, fmt.Sprintf("%d recordings of session %s are delivered", n, sessionID),
		done); err != nil {
		return nil, err
	}
	out, err := read()
	if err == nil && len(out) != n {
		err = fmt.Errorf("%d recordings of session %s were delivered, want %d", len(out),
			sessionID, n)
	}
	return out, err
}

// Where returns the recording's place for the command line: a URL or a directory.
func (d Delivered) Where() string {
	if d.Bucket == "" {
		return d.Dir
	}
	return d.S3URL()
}

// S3URL returns the recording's URL for the command line.
func (d Delivered) S3URL() string {
	return "s3://" + d.Bucket + "/" + strings.TrimSuffix(d.Key,
		"/")
}
