package standin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	msgNotActive    = "Session is not active"
	msgRoomNotFound = "Room not found"
	msgNoEgress     = "twirp error internal: egress not connected (redis required)"
)

// sessionView is a session in a response. Participants and recordings are omitted if empty.
type sessionView struct {
	session
	NumParticipants int               `json:"numParticipants"`
	NumRecordings   int               `json:"numRecordings"`
	Duration        int64             `json:"duration"`
	Participants    []participantView `json:"participants,omitempty"`
	// hides the column, which responses omit
	UpdatedAt *int64 `json:"updatedAt,omitempty"`
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

// listSessions queries LiveKit for every running session, and holds a database connection
// meanwhile. One failure fails the whole list; a missing room is not a failure.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	defer s.connect()()
	views := []sessionView{}
	for _, x := range s.state.sessions(canonical(r.PathValue("p"))) {
		v := viewSession(x)
		if x.Status == Started {
			list, err := s.liveParticipants(r.Context(), x.LivekitRoomName)
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

func (s *Server) liveParticipants(ctx context.Context, room string) ([]*livekit.ParticipantInfo,
	error,
) {
	return await(ctx, func() ([]*livekit.ParticipantInfo, error) {
		found, err := s.rooms.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{room}})
		if err != nil || len(found.Rooms) == 0 {
			return nil, err
		}
		l, err := s.rooms.ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: room})
		if err != nil {
			return nil, err
		}
		return l.Participants, nil
	})
}

func (s *Server) deleteRoom(ctx context.Context, room string) error {
	_, err := await(ctx, func() (*livekit.DeleteRoomResponse, error) {
		return s.rooms.DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: room})
	})
	return err
}

// sessionOf looks up the session of the path. Its own errors are 500, also for an id that does not
// exist.
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

// getSession needs two database connections at once, and holds the first one until LiveKit has
// responded.
func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	defer s.connect()()
	x, ok := s.sessionOf(w, r)
	if !ok {
		return
	}
	s.query()
	v := viewSession(x)
	if x.Status != Started {
		reply(w, v)
		return
	}
	room, err := s.room(r.Context(), x.LivekitRoomName)
	if err == nil && room == nil {
		fail(w, http.StatusBadRequest, msgRoomNotFound)
		return
	}
	var list []*livekit.ParticipantInfo
	if err == nil {
		list, err = s.liveParticipants(r.Context(), x.LivekitRoomName)
	}
	if err == nil && s.control.get().NoRedis {
		err = errors.New(msgNoEgress)
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
	v := participantView{
		ID: p.Sid, Identity: p.Identity, Name: p.Name, JoinedAt: p.JoinedAt * 1e9,
		SessionID: roomSID, Tracks: []trackView{},
	}
	for _, t := range p.Tracks {
		v.Tracks = append(v.Tracks, trackView{
			t.Sid, t.Sid, &t.Name, t.Type.String(),
			t.Source.String(), p.Identity,
		})
	}
	return v
}

// participants returns LiveKit's own objects in protobuf JSON form: default values are omitted,
// int64 values are strings.
func (s *Server) participants(w http.ResponseWriter, r *http.Request) {
	defer s.connect()()
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	list, err := s.liveParticipants(r.Context(), x.LivekitRoomName)
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

// stopSession deletes the room. If the room does not exist any more, that fails and the session
// stays Started forever.
func (s *Server) stopSession(w http.ResponseWriter, r *http.Request) {
	defer s.connect()()
	x, ok := s.activeSession(w, r)
	if !ok {
		return
	}
	if err := s.deleteRoom(r.Context(), x.LivekitRoomName); err != nil {
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
	defer s.connect()()
	x, ok := s.sessionOf(w, r)
	if !ok {
		return
	}
	if err := s.state.deleteSession(x.ID); err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	if x.Status != Stopped {
		if err := s.deleteRoom(r.Context(), x.LivekitRoomName); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	reply(w, viewSession(x))
}

func (s *Server) egresses(w http.ResponseWriter, r *http.Request) {
	s.query()
	if _, ok := s.sessionOf(w, r); ok {
		reply(w, []struct{}{})
	}
}

// mediaURL checks neither the session nor the object. The stand-in does not sign the URL.
func (s *Server) mediaURL(w http.ResponseWriter, r *http.Request) {
	var in struct{ Path string }
	if !decode(w, r, []field{{"path", isString, true}}, &in) {
		return
	}
	s.query()
	p, _ := s.project(canonical(r.PathValue("p")))
	reply(w, map[string]any{
		"mediaPath": in.Path, "mediaUrl": p.Endpoint + "/" + p.Bucket + "/" + in.Path,
		"bucketName": p.Bucket,
		"expiresIn":  time.Now().Add(5 * time.Minute).Unix(),
	})
}
