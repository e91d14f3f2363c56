package standin

import (
	"context"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

func roomMetadata(x session) string {
	return "|session_id:" + x.ID + "|project_id:" + x.ProjectID + "|comments:" + x.Comments + "|"
}

func (s *Server) room(ctx context.Context, name string) (*livekit.Room, error) {
	r, err := s.rooms.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{name}})
	if err != nil || len(r.Rooms) == 0 {
		return nil, err
	}
	return r.Rooms[0], nil
}

func (s *Server) token(identity, name string, g *auth.VideoGrant) (string, error) {
	return auth.NewAccessToken(s.cfg.LiveKitKey, s.cfg.LiveKitSecret).
		SetIdentity(identity).SetName(name).SetVideoGrant(g).SetValidFor(6 * time.Hour).ToJWT()
}

// listen joins the room of a session like SyncFlow's own listener: hidden but not as a recorder, so it holds the room open and
// takes a participant's place. When it is disconnected, the session is Stopped. It dies with this process and is never
// started again.
func (s *Server) listen(x session) {
	g := &auth.VideoGrant{RoomJoin: true, Room: x.LivekitRoomName, RoomAdmin: true, Hidden: true}
	token, err := s.token("room_listener", "room_listener", g)
	if err != nil {
		s.log.Error("room listener", "session", x.ID, "error", err)
		return
	}
	cb := lksdk.NewRoomCallback()
	gone := make(chan struct{})
	cb.OnDisconnected = func() { close(gone) }
	room, err := lksdk.ConnectToRoomWithToken(s.cfg.LiveKitURL, token, cb)
	if err != nil {
		s.log.Error("room listener", "session", x.ID, "error", err)
		return
	}
	s.live.Store(x.ID, x.LivekitRoomName)
	defer s.live.Delete(x.ID)
	if strings.Contains(x.Comments, "|") {
		// SyncFlow's parser of the room's metadata gives up: the listener goes and the session stays Started.
		room.Disconnect()
		return
	}
	select {
	case <-gone:
	case <-s.ctx.Done():
		room.Disconnect()
		return
	}
	if _, err := s.state.stopSession(x.ID); err != nil {
		s.log.Warn("room ended", "session", x.ID, "error", err)
	}
}

// listening returns the names of the rooms that this process is in.
func (s *Server) listening() []string {
	rooms := []string{}
	s.live.Range(func(_, name any) bool {
		rooms = append(rooms, name.(string))
		return true
	})
	return rooms
}
