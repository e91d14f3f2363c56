package app

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
)

// reportName is the key of the report among the objects of a recording.
const reportName = "report.html"

// Report implements [overview.Service].
func (s *overviewService) Report(ctx context.Context, egressID string) (io.ReadCloser, error) {
	rec, err := s.find(egressID)
	if err != nil {
		return nil, err
	}
	r, plan := s.describeRecording(rec, nil)
	if !r.HasReport {
		return nil, fmt.Errorf("the report: %w", overview.ErrNotFound)
	}
	return s.openObject(ctx, rec, plan, reportName)
}

// openObject opens an object of a plan: staged on disk, or delivered. Its reader returns an error
// at the end if the content is not that of the plan.
func (s *overviewService) openObject(ctx context.Context, rec *spool.Recording,
	plan delivery.Plan, key string,
) (io.ReadCloser, error) {
	var want string
	for _, o := range plan.Objects {
		if o.Key == key {
			want = o.SHA256
		}
	}
	if rec.State() == spool.StateExported {
		if f, err := staged(rec, key); err == nil {
			return &checked{ReadCloser: f, sum: sha256.New(), want: want}, nil
		}
	}
	r, err := s.openDelivered(ctx, rec, key)
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: r, sum: sha256.New(), want: want}, nil
}

func staged(rec *spool.Recording, key string) (io.ReadCloser, error) {
	staging, err := delivery.OpenStaging(rec.StagingDir())
	if err != nil {
		return nil, err
	}
	defer func() { _ = staging.Close() }()
	name := staging.Path(key)
	if name == "" {
		return nil, os.ErrNotExist
	}
	return os.Open(name)
}

// checked compares content with its SHA-256 at its end.
type checked struct {
	io.ReadCloser

	sum  hash.Hash
	want string
}

// Read implements io.Reader.
func (c *checked) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.sum.Write(b[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.want {
		return n, fmt.Errorf("%w: the object is not what was delivered", overview.ErrNotNow)
	}
	return n, err
}

// Zip implements [overview.Service]. If it returns an error after it wrote something, the archive
// has no directory and cannot be opened by mistake.
func (s *overviewService) Zip(ctx context.Context, egressID string, w io.Writer) error {
	rec, err := s.find(egressID)
	if err != nil {
		return err
	}
	r, plan := s.describeRecording(rec, nil)
	if len(plan.Objects) == 0 || r.State != overview.StateDelivered {
		return fmt.Errorf("%w: the recording is not delivered yet", overview.ErrNotNow)
	}
	archive := zip.NewWriter(w)
	for _, o := range plan.Objects {
		if err := s.zipObject(ctx, archive, rec, plan, o.Key); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (s *overviewService) zipObject(ctx context.Context, archive *zip.Writer,
	rec *spool.Recording, plan delivery.Plan, key string,
) error {
	r, err := s.openObject(ctx, rec, plan, key)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	h := &zip.FileHeader{
		Name: rec.ID() + "/" + key, Method: zip.Deflate,
		Modified: time.Unix(0, rec.Info().CreatedUnixNS).UTC(),
	}
	if path.Ext(key) == ".zst" {
		h.Method = zip.Store
	}
	to, err := archive.CreateHeader(h)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, r); err != nil {
		if _, store := errors.AsType[*objstore.Error](err); store {
			return fmt.Errorf("%w: the store: %s", overview.ErrNotNow,
				objstore.Redacted(err, "an object cannot be read"))
		}
		return err
	}
	return nil
}

// Stop implements [overview.Service].
func (s *overviewService) Stop(ctx context.Context, egressID string) error {
	rec, err := s.find(egressID)
	if err != nil {
		return err
	}
	ctl := s.controller(rec.Info().ProjectID)
	if ctl == nil {
		return fmt.Errorf("%w: the project is not running", overview.ErrNotNow)
	}
	err = ctl.Stop(ctx, egressID)
	if errors.Is(err, controller.ErrNoRecording) {
		return fmt.Errorf("recording: %w", overview.ErrNotFound)
	}
	return err
}

// Record implements [overview.Service].
func (s *overviewService) Record(ctx context.Context, sessionID, projectID string) (
	string, error,
) {
	id, err := s.App.Record(ctx, sessionID, projectID)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, session.ErrUnknown):
		return "", fmt.Errorf("the session: %w", overview.ErrNotFound)
	case errors.Is(err, session.ErrEnded):
		return "", fmt.Errorf("%w: the session is over", overview.ErrRefused)
	}
	return "", fmt.Errorf("%w: %w", overview.ErrNotNow, err)
}

// Exclude implements [overview.Service].
func (s *overviewService) Exclude(ctx context.Context, identity, sessionID, projectID string,
) error {
	q := web.ExcludeRequest{Identity: identity, SessionID: sessionID, Project: projectID}
	if !s.knows(q) { // a pseudonym that cannot be traced, or a mistake; it would exclude nobody
		return fmt.Errorf("the participant: %w", overview.ErrNotFound)
	}
	_, err := s.App.Exclude(ctx, q)
	switch {
	case errors.Is(err, controller.ErrNoSession):
		return fmt.Errorf("the session: %w", overview.ErrNotFound)
	case err != nil:
		return fmt.Errorf("%w: %w", overview.ErrNotNow, err)
	}
	return nil
}
