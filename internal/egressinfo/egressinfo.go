// Package egressinfo describes a recording as LiveKit's EgressInfo
// (protobufs/livekit_egress.proto), for the API and for webhooks.
//
// The guarantee: a description contains nothing about participants. It lists only objects whose
// keys name no participant; the manifest lists all objects.
package egressinfo

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/spool"
)

// Live is the state of a recording that is not in its state files.
type Live struct {
	// Status is the status of an open recording; "" means [textegress.StatusStarting].
	Status textegress.Status
	// RoomSID is the sid of the room, "" if it is unknown. If the session id is the sid of a room,
	// as on a LiveKit server without SyncFlow, it may be empty.
	RoomSID string
}

// Of describes a recording. A recording that is sealed and not yet delivered has the status
// EGRESS_ENDING: the final status, with the error of a recording that failed, follows when every
// object was verified in the bucket. Times are in nanoseconds since 1970. The request stays unset,
// because no message of LiveKit describes the recording of data.
//
// If a state file cannot be read, Of returns an error and a description without the content of that
// file.
func Of(rec *spool.Recording, live Live) (*livekit.EgressInfo, error) {
	i := rec.Info()
	e := &livekit.EgressInfo{
		EgressId: i.EgressID, RoomId: live.RoomSID,
		RoomName:   strings.ToValidUTF8(i.RoomName, "\uFFFD"), // protobuf rejects invalid UTF-8
		SourceType: livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK,
		Status:     status(live.Status),
		StartedAt:  i.CreatedUnixNS, UpdatedAt: i.CreatedUnixNS,
	}
	if e.RoomId == "" && strings.HasPrefix(i.SessionID, "RM_") {
		e.RoomId = i.SessionID
	}
	sealed, ok := rec.Sealed()
	if !ok {
		return e, nil
	}
	e.Status = livekit.EgressStatus_EGRESS_ENDING
	e.EndedAt, e.UpdatedAt = sealed.EndedUnixNS, sealed.EndedUnixNS
	up, ok, err := delivery.LoadUploaded(rec)
	if err != nil {
		return e, fmt.Errorf("describe recording %s: %w", i.EgressID, err)
	}
	if !ok {
		return e, nil
	}
	e.Status = status(sealed.Status)
	e.UpdatedAt = max(up.UploadedUnixNS, sealed.EndedUnixNS)
	e.Error = failure(sealed)
	e.ManifestLocation = location(up.Bucket, up.Prefix+textegress.ManifestName)
	plan, ok, err := delivery.LoadPlan(rec)
	if err != nil {
		return e, fmt.Errorf("describe recording %s: %w", i.EgressID, err)
	}
	if ok && plan.Revision == up.Revision {
		e.Details = plan.Details
		e.FileResults = files(plan, up, e)
	}
	return e, nil
}

// status returns LiveKit's name of a status.
func status(s textegress.Status) livekit.EgressStatus {
	v := livekit.EgressStatus_value["EGRESS_"+string(cmp.Or(s, textegress.StatusStarting))]
	return livekit.EgressStatus(v)
}

// failure returns the error text of a recording that did not end normally.
func failure(s spool.Sealed) string {
	switch s.Status {
	case textegress.StatusFailed:
		return "the recording failed: " + cmp.Or(s.Reason, "unknown reason")
	case textegress.StatusAborted:
		return "the recording was aborted: " + cmp.Or(s.Reason, "unknown reason")
	}
	return ""
}

// files returns the objects whose keys name no participant.
func files(p delivery.Plan, up delivery.Uploaded, e *livekit.EgressInfo) []*livekit.FileInfo {
	var list []*livekit.FileInfo
	for _, o := range p.Objects {
		if !namesNobody(o.Key) {
			continue
		}
		list = append(list, &livekit.FileInfo{
			Filename: p.Prefix + o.Key, Location: location(up.Bucket, p.Prefix+o.Key),
			StartedAt: e.StartedAt, EndedAt: e.EndedAt,
			Duration: max(0, e.EndedAt-e.StartedAt), Size: o.Size,
		})
	}
	return list
}

// namesNobody reports whether an object has the same key in all recordings. The keys of the other
// views and of received files contain identities.
func namesNobody(key string) bool {
	switch key {
	case textegress.ManifestName, textegress.MetadataName, textegress.EventsName,
		textegress.ReportName:
		return true
	}
	return strings.HasPrefix(key, textegress.RawDir)
}

// location returns the address of a key in a bucket with the given [objstore.Bucket.String].
func location(bucket, key string) string {
	if dir, ok := strings.CutPrefix(bucket, "directory "); ok {
		return dir + "/" + key
	}
	bucket, _, _ = strings.Cut(bucket, " at ") // s3://name at endpoint
	return bucket + "/" + key
}
