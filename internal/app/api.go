package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/egressinfo"
	"github.com/syncflow/textegress/internal/notify"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// maxManifest is the maximum size of a manifest from which a statement is read, in bytes.
const maxManifest = 64 << 20

// apiService implements [api.Service] on the projects and the data directory of the service.
type apiService struct{ *App }

// apiProjects returns the projects that the API serves: those with a key of a LiveKit server.
func (a *App) apiProjects() []api.Project {
	var list []api.Project
	for _, p := range a.snapshotProjects() {
		if key, ok := project.LiveKitKey(p.Config); ok && p.ctl != nil {
			list = append(list, api.Project{ID: p.Config.ProjectID, Key: key})
		}
	}
	return list
}

// Start implements [api.Service].
func (s apiService) Start(ctx context.Context, projectID string, req api.Start) (
	*livekit.EgressInfo, error,
) {
	ctl := s.controller(projectID)
	if ctl == nil {
		return nil, fmt.Errorf("%w: the project is not running", api.ErrLater)
	}
	for _, url := range req.Webhooks {
		if err := notify.CheckURL(url, s.o.Config.WebhookHosts); err != nil {
			return nil, fmt.Errorf("%w: webhooks: %w", api.ErrInvalid, err)
		}
	}
	id, err := ctl.Start(ctx, controller.StartOptions{
		Room: req.Room, RequestID: req.RequestID, Prefix: req.Prefix, Webhooks: req.Webhooks,
		Limits: session.Limits{Topics: req.Topics, Participants: req.Participants},
	})
	if err != nil {
		return nil, startError(id, err)
	}
	return s.info(projectID, id)
}

// startError converts an error of [controller.Controller.Start] for the API.
func startError(egressID string, err error) error {
	_, limit := errors.AsType[*controller.LimitError](err)
	switch {
	case errors.Is(err, controller.ErrBeingRecorded):
		return &api.RecordedError{EgressID: egressID, Reason: "the room is being recorded, and " +
			"not as this request asks for; stop that recording first"}
	case errors.Is(err, controller.ErrRequestID):
		return &api.RecordedError{EgressID: egressID, Reason: controller.ErrRequestID.Error()}
	case errors.Is(err, controller.ErrPrefix), limit:
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	case errors.Is(err, session.ErrRoomMissing):
		return fmt.Errorf("%w: %w", api.ErrNoRoom, err)
	case errors.Is(err, session.ErrUnknown), errors.Is(err, session.ErrEnded):
		return fmt.Errorf("%w: %w", api.ErrRefused, err)
	case errors.Is(err, controller.ErrNoServer), errors.Is(err, controller.ErrStopping),
		errors.Is(err, session.ErrLater), errors.Is(err, diskguard.ErrLow):
		return fmt.Errorf("%w: %w", api.ErrLater, err)
	}
	return err
}

// Stop implements [api.Service].
func (s apiService) Stop(ctx context.Context, projectID, egressID string) (
	*livekit.EgressInfo, error,
) {
	ctl := s.controller(projectID)
	if ctl == nil {
		return nil, fmt.Errorf("%w: the project is not running", api.ErrLater)
	}
	err := ctl.Stop(ctx, egressID)
	switch {
	case errors.Is(err, controller.ErrNoRecording):
		return nil, fmt.Errorf("%w: %w", api.ErrUnknown, err)
	case err != nil:
		return nil, err
	}
	e, err := s.info(projectID, egressID)
	if err == nil && e.GetStatus() <= livekit.EgressStatus_EGRESS_ACTIVE {
		e.Status = livekit.EgressStatus_EGRESS_ENDING // the decision is durable
	}
	return e, err
}

// List implements [api.Service].
func (s apiService) List(_ context.Context, projectID string, f api.Filter) (
	[]*livekit.EgressInfo, error,
) {
	live := s.live(projectID)
	var list []*livekit.EgressInfo
	for _, rec := range s.recordings(f.EgressID) {
		i := rec.Info()
		if i.ProjectID != projectID || f.Room != "" && i.RoomName != f.Room {
			continue
		}
		list = append(list, s.describe(rec, live[i.EgressID]))
	}
	return list, nil
}

// recordings returns the recording with the given id, or all if the id is empty.
func (a *App) recordings(egressID string) []*spool.Recording {
	if egressID == "" {
		return a.spool.Recordings()
	}
	if rec, ok := a.spool.Recording(egressID); ok {
		return []*spool.Recording{rec}
	}
	return nil
}

// live returns the recorders of a project by egress id.
func (a *App) live(projectID string) map[string]recorder.Snapshot {
	live := map[string]recorder.Snapshot{}
	if ctl := a.controller(projectID); ctl != nil {
		for _, r := range ctl.Snapshot().Recorders {
			live[r.Info.EgressID] = r
		}
	}
	return live
}

func (a *App) controller(projectID string) *controller.Controller {
	for _, p := range a.snapshotProjects() {
		if p.Config.ProjectID == projectID && p.ctl != nil {
			return p.ctl
		}
	}
	return nil
}

func (s apiService) info(projectID, egressID string) (*livekit.EgressInfo, error) {
	rec, ok := s.spool.Recording(egressID)
	if !ok {
		return nil, fmt.Errorf("%w: %s", api.ErrUnknown, egressID)
	}
	return s.describe(rec, s.live(projectID)[egressID]), nil
}

// describe describes a recording. An unreadable state file does not remove it from the list.
func (a *App) describe(rec *spool.Recording, r recorder.Snapshot) *livekit.EgressInfo {
	e, err := egressinfo.Of(rec, egressinfo.Live{Status: r.Status})
	if err != nil {
		a.log.Error("a recording is described without what a file of it states", "egress_id",
			rec.ID(), "error", err)
	}
	return e
}

// Statement implements [api.Service].
func (s apiService) Statement(ctx context.Context, projectID, egressID string) (
	*dataegress.Statement, error,
) {
	rec, ok := s.spool.Recording(egressID)
	if !ok || rec.Info().ProjectID != projectID {
		return nil, fmt.Errorf("%w: %s", api.ErrUnknown, egressID)
	}
	live := s.live(projectID)[egressID]
	e := s.describe(rec, live)
	m, ok, err := s.manifest(ctx, rec)
	if err != nil {
		return nil, fmt.Errorf("%w: read the manifest of recording %s: %s", api.ErrLater, egressID,
			objstore.Redacted(err, "the store refuses it"))
	}
	if ok {
		s.packets.forget(egressID)
		return api.StatementOf(m, e), nil
	}
	st := &dataegress.Statement{
		EgressId: egressID, Status: e.GetStatus(), StartedAt: e.GetStartedAt(),
		EndedAt: e.GetEndedAt(), AnnouncedAt: rec.Info().AnnouncedUnixNS,
	}
	if sealed, ok := rec.Sealed(); ok {
		st.Reason = sealed.Reason
		st.Packets, err = s.packets.count(ctx, rec)
		return st, err
	}
	// Each packet is a frame, so at most as many packets as frames are not durable yet.
	if pending := live.Recorded - live.Durable; live.Packets > pending {
		st.Packets = int64(live.Packets - pending)
	}
	return st, nil
}

// manifest returns the manifest of a recording from the place in its plan: staged on disk, or
// delivered. ok is false if the recording is not rendered yet.
func (a *App) manifest(ctx context.Context, rec *spool.Recording) (
	m textegress.Manifest, ok bool, err error,
) {
	plan, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return m, false, err
	}
	var want textegress.Object
	for _, o := range plan.Objects {
		if o.Key == textegress.ManifestName {
			want = o
		}
	}
	data, err := stagedManifest(rec)
	if err != nil || !sameObject(want, data) {
		if data, err = a.deliveredManifest(ctx, rec); err != nil {
			return m, false, err
		}
	}
	if !sameObject(want, data) {
		return m, false, fmt.Errorf("%s is not what was delivered", textegress.ManifestName)
	}
	err = textegress.DecodeJSON(data, &m)
	return m, err == nil, err
}

// sameObject reports whether data is the content of an object.
func sameObject(o textegress.Object, data []byte) bool {
	sum := sha256.Sum256(data)
	return int64(len(data)) == o.Size && hex.EncodeToString(sum[:]) == o.SHA256
}

func stagedManifest(rec *spool.Recording) ([]byte, error) {
	staging, err := delivery.OpenStaging(rec.StagingDir())
	if err != nil {
		return nil, err
	}
	defer func() { _ = staging.Close() }()
	path := staging.Path(textegress.ManifestName)
	if path == "" {
		return nil, os.ErrNotExist
	}
	return os.ReadFile(path)
}

func (a *App) deliveredManifest(ctx context.Context, rec *spool.Recording) ([]byte, error) {
	up, ok, err := delivery.LoadUploaded(rec)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("the manifest is being rendered again"))
	}
	bucket, err := liveProjects{a}.Bucket(rec.Info().ProjectID)
	if err != nil {
		return nil, err
	}
	r, err := bucket.Open(ctx, up.Prefix+textegress.ManifestName)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, maxManifest))
}
