package api

import (
	"context"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress/dataegress"
)

// stop ends a recording of the caller.
func (a *API) stop(ctx context.Context, project, egressID string) (*livekit.EgressInfo, error) {
	e, err := a.service.Stop(ctx, project, egressID)
	if err != nil {
		return nil, err
	}
	a.log.Info("the API was asked to stop a recording", "project_id", project,
		"room", e.GetRoomName(), "egress_id", e.GetEgressId())
	return e, nil
}

// dataEgress implements textegress.DataEgress.
type dataEgress struct{ api *API }

// StartDataEgress implements [dataegress.DataEgress].
func (d dataEgress) StartDataEgress(ctx context.Context,
	req *dataegress.StartDataEgressRequest,
) (*livekit.EgressInfo, error) {
	e, err := d.api.start(ctx, req)
	return e, d.api.answer(ctx, "StartDataEgress", err)
}

// StopDataEgress implements [dataegress.DataEgress].
func (d dataEgress) StopDataEgress(ctx context.Context, req *dataegress.StopDataEgressRequest) (
	*livekit.EgressInfo, error,
) {
	project, _, err := d.api.find(ctx, req.GetEgressId())
	if err != nil {
		return nil, d.api.answer(ctx, "StopDataEgress", err)
	}
	e, err := d.api.stop(ctx, project, req.GetEgressId())
	return e, d.api.answer(ctx, "StopDataEgress", err)
}

// ListDataEgress implements [dataegress.DataEgress].
func (d dataEgress) ListDataEgress(ctx context.Context, req *dataegress.ListDataEgressRequest) (
	*livekit.ListEgressResponse, error,
) {
	resp, err := d.api.list(ctx, Filter{
		Room: req.GetRoomName(), EgressID: req.GetEgressId(), Active: req.GetActive(),
	}, req.GetPageToken(), pageSize)
	return resp, d.api.answer(ctx, "ListDataEgress", err)
}

// GetStatement implements [dataegress.DataEgress].
func (d dataEgress) GetStatement(ctx context.Context, req *dataegress.GetStatementRequest) (
	*dataegress.Statement, error,
) {
	project, _, err := d.api.find(ctx, req.GetEgressId())
	if err != nil {
		return nil, d.api.answer(ctx, "GetStatement", err)
	}
	s, err := d.api.service.Statement(ctx, project, req.GetEgressId())
	return s, d.api.answer(ctx, "GetStatement", err)
}

// egress implements the methods of livekit.Egress for existing recordings.
type egress struct{ api *API }

// ListEgress implements [livekit.Egress].
func (s egress) ListEgress(ctx context.Context, req *livekit.ListEgressRequest) (
	*livekit.ListEgressResponse, error,
) {
	resp, err := s.api.list(ctx, Filter{
		Room: req.GetRoomName(), EgressID: req.GetEgressId(), Active: req.GetActive(),
	}, req.GetPageToken(), livekitPageSize)
	return resp, s.api.answer(ctx, "ListEgress", err)
}

// StopEgress implements [livekit.Egress]. Like a LiveKit server it rejects the stop of a recording
// that has ended.
func (s egress) StopEgress(ctx context.Context, req *livekit.StopEgressRequest) (
	*livekit.EgressInfo, error,
) {
	project, e, err := s.api.find(ctx, req.GetEgressId())
	switch {
	case err != nil:
	case ended(e):
		err = twirp.NewError(twirp.FailedPrecondition,
			"egress with status "+e.GetStatus().String()+" cannot be stopped")
	default:
		e, err = s.api.stop(ctx, project, req.GetEgressId())
	}
	return e, s.api.answer(ctx, "StopEgress", err)
}

// unimplemented is the answer of the methods that start or change recordings of audio and video.
func unimplemented() error {
	return twirp.NewError(twirp.Unimplemented, "textegress records data channels only: start a "+
		"recording with POST /twirp/textegress.DataEgress/StartDataEgress, and send requests for "+
		"sound and video to the LiveKit server")
}

// StartEgress implements [livekit.Egress].
func (egress) StartEgress(context.Context, *livekit.StartEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// UpdateLayout implements [livekit.Egress].
func (egress) UpdateLayout(context.Context, *livekit.UpdateLayoutRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// UpdateStream implements [livekit.Egress].
func (egress) UpdateStream(context.Context, *livekit.UpdateStreamRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// StartRoomCompositeEgress implements [livekit.Egress].
func (egress) StartRoomCompositeEgress(context.Context, *livekit.RoomCompositeEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// StartWebEgress implements [livekit.Egress].
func (egress) StartWebEgress(context.Context, *livekit.WebEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// StartParticipantEgress implements [livekit.Egress].
func (egress) StartParticipantEgress(context.Context, *livekit.ParticipantEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// StartTrackCompositeEgress implements [livekit.Egress].
func (egress) StartTrackCompositeEgress(context.Context, *livekit.TrackCompositeEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}

// StartTrackEgress implements [livekit.Egress].
func (egress) StartTrackEgress(context.Context, *livekit.TrackEgressRequest) (
	*livekit.EgressInfo, error,
) {
	return nil, unimplemented()
}
