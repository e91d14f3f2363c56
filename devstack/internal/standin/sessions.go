package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	msgNotActive    = "Session is not active"
	msgRoomNotFound = "Room not found"
	msgNoEgress     = "twirp error internal: egress not connected (redis required)"
)

// sessionView is how a session is answered. Participants and recordings are left out when they are empty.
type sessionView struct {
	session
	NumParticipants int               `json:"numParticipants"`
	NumRecordings   int               `json:"numRecordings"`
	Duration        int64             `json:"duration"`
	Participants    []participantView `json:"participants,omitempty"`
	UpdatedAt       *int64            `json:"updatedAt,omitempty"` // hides the column, which is not answered
}

type participantView struct {
	ID        string      `json:"id"`
	Identity  string      `json:"identity"`
	Name      string      `json:"name"`
	JoinedAt  int64       `json:"joinedAt"` // nanoseconds
	LeftAt    *int64      `json:"leftAt"`
	SessionID string      `json:"sessionId"` // of a running session: the sid of the room
	Tracks    []trackView `json:"tracks"`
}

type trackView struct {
	ID            string  `json:"id"`
	SID           string  `json:"sid"`
	Name          *string `json:"name"`
	Kind          string  `json:"kind"`
	Source        string  `json:"source"`
	ParticipantID string  `json:"participantId"`
}

func viewSession(x session) sessionView {
	end := x.UpdatedAt
	if x.Status == Started {
		end = time.Now().Unix()
	}
	return sessionView{session: x, Duration: end - x.StartedAt}
}

func (s *Server) createSession(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name, Comments                string
		EmptyTimeout, MaxParticipants int
		DeviceGroups                  []string
	}
	if !decode(w, r, []field{
		{"name", isString, false},
		{"comments", isString, false},
		{"emptyTimeout", isInteger, false},
		{"maxParticipants", isInteger, false},
		{"autoRecording", isBool, false},
		{"deviceGroups", isStrings, false},
	}, &in) {
		return
	}
	ctx, project := r.Context(), canonical(r.PathValue("p"))
	var unknown []string
	for _, g := range in.DeviceGroups {
		if !s.state.hasGroup(project, g) {
			unknown = append(unknown, g)
		}
	}
	if len(unknown) > 0 {
		fail(w, http.StatusBadRequest, "Invalid device groups: ["+strings.Join(unknown, ", ")+"]")
		return
	}
	name := in.Name
	if name == "" {
		name = "session-" + letters(4) + "-" + letters(4)
	}
	internal := func(err error) { fail(w, http.StatusInternalServerError, err.Error()) }
	room, err := s.room(ctx, name)
	if err != nil {
		internal(err)
		return
	}
	if room != nil {
		fail(w, http.StatusBadRequest, fmt.Sprintf("Session name %q session already exists and is active, please stop the session", name))
		return
	}
	create := &livekit.CreateRoomRequest{Name: name, EmptyTimeout: 600, MaxParticipants: 100, Metadata: in.Comments}
	if in.EmptyTimeout > 0 {
		create.EmptyTimeout = uint32(in.EmptyTimeout)
	}
	if in.MaxParticipants > 0 {
		create.MaxParticipants = uint32(in.MaxParticipants)
	}
	if room, err = s.rooms.CreateRoom(ctx, create); err != nil {
		internal(err)
		return
	}
	now := time.Now().Unix()
	x := session{
		ID: uuid.NewString(), Name: name, StartedAt: now, UpdatedAt: now, Comments: in.Comments, EmptyTimeout: in.EmptyTimeout,
		MaxParticipants: in.MaxParticipants, LivekitRoomName: room.Name, ProjectID: project, Status: Started,
	}
	if err := s.state.addSession(x); err != nil {
		internal(err) // the room is orphaned
		return
	}
	if _, err := s.rooms.UpdateRoomMetadata(ctx, &livekit.UpdateRoomMetadataRequest{Room: room.Name, Metadata: roomMetadata(x)}); err != nil {
		internal(err)
		return
	}
	if !s.control.get().NoListener {
		go s.listen(x)
	}
	for _, g := range in.DeviceGroups {
		// The project as the caller spelled it in the URL.
		if err := s.rmq.announce(ctx, r.PathValue("p")+"."+g, x.ID, x.LivekitRoomName); err != nil {
			internal(err) // room, row and listener stay
			return
		}
	}
	reply(w, viewSession(x))
}

func letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}

// listSessions asks LiveKit about every running session. One failure fails the whole list; a room that is gone is no failure.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	views := []sessionView{}
	for _, x := range s.state.sessions(canonical(r.PathValue("p"))) {
		v := viewSession(x)
		if x.Status == Started {
			list, err := s.liveParticipants(r, x.LivekitRoomName)
			if err == nil && s.control.get().NoRedis {
				err = errors.New(msgNoEgress)
			}
			if err != nil {
				fail(w, http.StatusInternalServerError, err.Error())
				return
			}
			v.NumParticipants = len(list)
		}
		views = append(views, v)
	}
	reply(w, views)
}

func (s *Server) liveParticipants(r *http.Request, room string) ([]*livekit.ParticipantInfo, error) {
	found, err := s.room(r.Context(), room)
	if err != nil || found == nil {
		return nil, err
	}
	l, err := s.rooms.ListParticipants(r.Context(), &livekit.ListParticipantsRequest{Room: room})
	if err != nil {
		return nil, err
	}
	return l.Participants, nil
}

// session looks up the session of the path. What it answers itself is 500, also for an id that does not exist.
func (s *Server) sessionOf(w http.ResponseWriter, r *http.Request) (session, bool) {
	id, err := uuid.Parse(r.PathValue("s"))
	if err != nil {
		fail(w, http.StatusInternalServerError, "Invalid session id")
		return session{}, false
	}
	x, err := s.state.session(canonical(r.PathValue("p")), id.String())
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return session{}, false
	}
	return x, true
}

func (s *Server) activeSession(w http.ResponseWriter, r *http.Request) (session, bool) {
	x, ok := s.sessionOf(w, r)
	if ok && x.Status != Started {
		fail(w, http.StatusBadRequest, msgNotActive)
		return x, false
	}
	return x, ok
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	x, ok := s.sessionOf(w, r)
	if !ok {
		return
	}
	v := viewSession(x)
	if x.Status != Started {
		reply(w, v)
		return
	}
	if s.control.get().NoRedis {
		fail(w, http.StatusInternalServerError, msgNoEgress)
		return
	}
	room, err := s.room(r.Context(), x.LivekitRoomName)
	if err == nil && room == nil {
		fail(w, http.StatusBadRequest, msgRoomNotFound)
		return
	}
	var list []*livekit.ParticipantInfo
	if err == nil {
		list, err = s.liveParticipants(r, x.LivekitRoomName)
	}
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	for _, p := range list {
		if p.Kind == livekit.ParticipantInfo_STANDARD {
			v.Participants = append(v.Participants, viewParticipant(p, room.Sid))
		}
	}
	reply(w, v)
}

func viewParticipant(p *livekit.ParticipantInfo, roomSID string) participantView {
	v := participantView{ID: p.Sid, Identity: p.Identity, Name: p.Name, JoinedAt: p.JoinedAt * 1e9, SessionID: roomSID, Tracks: []trackView{}}
	for _, t := range p.Tracks {
		v.Tracks = append(v.Tracks, trackView{t.Sid, t.Sid, &t.Name, t.Type.String(), t.Source.String(), p.Identity})
	}
	return v
}

// grants are the fourteen fields that a token request must have, all of them.
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

func (s *Server) sessionToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Identity    string
		Name        *string
		VideoGrants grants
	}
	if !decode(w, r, []field{{"identity", isString, true}, {"name", isString, false}, {"videoGrants", isGrants, true}}, &in) {
		return
	}
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	g := in.VideoGrants
	if g.Room != x.LivekitRoomName {
		fail(w, http.StatusInternalServerError, "Invalid room name(mismatch between room and livekit room name)")
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
		RoomCreate: g.RoomCreate, RoomList: g.RoomList, RoomRecord: g.RoomRecord, RoomAdmin: g.RoomAdmin, RoomJoin: g.RoomJoin,
		Room: g.Room, CanPublish: &g.CanPublish, CanSubscribe: &g.CanSubscribe, CanPublishData: &g.CanPublishData,
		CanPublishSources: g.CanPublishSources, CanUpdateOwnMetadata: &g.CanUpdateOwnMetadata, IngressAdmin: g.IngressAdmin,
		Hidden: g.Hidden, Recorder: g.Recorder,
	})
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	p, _ := s.project(x.ProjectID)
	reply(w, map[string]string{"token": token, "identity": in.Identity, "livekitServerUrl": p.LiveKitServerURL})
}

// participants answers LiveKit's own objects in the protobuf JSON form: default values are left out, int64 are strings.
func (s *Server) participants(w http.ResponseWriter, r *http.Request) {
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	list, err := s.liveParticipants(r, x.LivekitRoomName)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	out := []json.RawMessage{}
	for _, p := range list {
		b, err := protojson.Marshal(p)
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		out = append(out, slices.Clone(b))
	}
	reply(w, out)
}

// stopSession deletes the room. If the room is gone already, that fails and the session stays Started for ever.
func (s *Server) stopSession(w http.ResponseWriter, r *http.Request) {
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	if _, err := s.rooms.DeleteRoom(r.Context(), &livekit.DeleteRoomRequest{Room: x.LivekitRoomName}); err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	x, err := s.state.stopSession(x.ID)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, viewSession(x))
}

func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request) {
	x, ok := s.sessionOf(w, r)
	if !ok {
		return
	}
	if err := s.state.deleteSession(x.ID); err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	if x.Status != Stopped {
		if _, err := s.rooms.DeleteRoom(r.Context(), &livekit.DeleteRoomRequest{Room: x.LivekitRoomName}); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	reply(w, viewSession(x))
}

func (s *Server) egresses(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.sessionOf(w, r); ok {
		reply(w, []struct{}{})
	}
}

// mediaURL looks at neither the session nor the object; the URL is not signed here.
func (s *Server) mediaURL(w http.ResponseWriter, r *http.Request) {
	var in struct{ Path string }
	if !decode(w, r, []field{{"path", isString, true}}, &in) {
		return
	}
	p, _ := s.project(canonical(r.PathValue("p")))
	reply(w, map[string]any{
		"mediaPath": in.Path, "mediaUrl": p.Endpoint + "/" + p.Bucket + "/" + in.Path, "bucketName": p.Bucket,
		"expiresIn": time.Now().Add(5 * time.Minute).Unix(),
	})
}
