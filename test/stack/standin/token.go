package standin

import (
	"net/http"

	"github.com/livekit/protocol/auth"
)

// grants holds the fourteen fields of a token request, all of them required.
type grants struct {
	RoomCreate, RoomList, RoomRecord, RoomAdmin, RoomJoin bool
	Room                                                  string
	CanPublish, CanSubscribe, CanPublishData              bool
	CanPublishSources                                     []string
	CanUpdateOwnMetadata, IngressAdmin, Hidden, Recorder  bool
}

var grantFields = []field{
	{"roomCreate", isBool, true},
	{"roomList", isBool, true},
	{"roomRecord", isBool, true},
	{"roomAdmin", isBool, true},
	{"roomJoin", isBool, true},
	{"room", isString, true},
	{"canPublish", isBool, true},
	{"canSubscribe", isBool, true},
	{"canPublishData", isBool, true},
	{"canPublishSources", isStrings, true},
	{"canUpdateOwnMetadata", isBool, true},
	{"ingressAdmin", isBool, true},
	{"hidden", isBool, true},
	{"recorder", isBool, true},
}

func isGrants(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return expect[map[string]any](v, "struct VideoGrants")
	}
	return check(m, grantFields)
}

// sessionToken uses only the database.
func (s *Server) sessionToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Identity    string
		Name        *string
		VideoGrants grants
	}
	if !decode(w, r, []field{
		{"identity", isString, true},
		{"name", isString, false},
		{"videoGrants", isGrants, true},
	}, &in) {
		return
	}
	s.query()
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	g := in.VideoGrants
	if g.Room != x.LivekitRoomName {
		fail(w, http.StatusInternalServerError,
			"Invalid room name(mismatch between room and livekit room name)")
		return
	}
	if g.RoomJoin && in.Identity == "" {
		fail(w, http.StatusInternalServerError, "identity cannot be empty")
		return
	}
	name := in.Identity
	if in.Name != nil {
		name = *in.Name
	}
	token, err := s.token(in.Identity, name, &auth.VideoGrant{
		RoomCreate: g.RoomCreate, RoomList: g.RoomList, RoomRecord: g.RoomRecord,
		RoomAdmin: g.RoomAdmin, RoomJoin: g.RoomJoin,
		Room: g.Room, CanPublish: &g.CanPublish, CanSubscribe: &g.CanSubscribe,
		CanPublishData:    &g.CanPublishData,
		CanPublishSources: g.CanPublishSources, CanUpdateOwnMetadata: &g.CanUpdateOwnMetadata,
		IngressAdmin: g.IngressAdmin,
		Hidden:       g.Hidden, Recorder: g.Recorder,
	})
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	p, _ := s.project(x.ProjectID)
	reply(w, map[string]string{
		"token": token, "identity": in.Identity,
		"livekitServerUrl": p.LiveKitServerURL,
	})
}
