package standin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress/internal/backoff"
)

// rooms is the part of LiveKit that the API uses.
type rooms interface {
	ListRooms(context.Context, *livekit.ListRoomsRequest) (*livekit.ListRoomsResponse, error)
	CreateRoom(context.Context, *livekit.CreateRoomRequest) (*livekit.Room, error)
	UpdateRoomMetadata(context.Context, *livekit.UpdateRoomMetadataRequest) (*livekit.Room, error)
	ListParticipants(context.Context,
		*livekit.ListParticipantsRequest) (*livekit.ListParticipantsResponse, error)
	DeleteRoom(context.Context, *livekit.DeleteRoomRequest) (*livekit.DeleteRoomResponse, error)
	// Join joins a room. gone is closed when the connection has ended.
	Join(token string) (gone <-chan struct{}, leave func(), err error)
}

// server is a LiveKit server.
type server struct {
	*lksdk.RoomServiceClient
	url string
}

func (l server) Join(token string) (<-chan struct{}, func(), error) {
	cb := lksdk.NewRoomCallback()
	gone := make(chan struct{})
	cb.OnDisconnected = func() { close(gone) }
	room, err := lksdk.ConnectToRoomWithToken(l.url, token, cb)
	if err != nil {
		return nil, nil, err
	}
	return gone, room.Disconnect, nil
}

func roomMetadata(x session) string {
	return "|session_id:" + x.ID + "|project_id:" + x.ProjectID + "|comments:" + x.Comments + "|"
}

// sessionIn parses the metadata of a room as SyncFlow does, which cannot parse all the metadata
// that it writes.
func sessionIn(metadata string) (id string, err error) {
	parts := strings.Split(strings.Trim(metadata, "|"), "|")
	if len(parts) != 3 {
		return "", errors.New("Invalid metadata format")
	}
	u, err := uuid.Parse(parts[0][strings.LastIndexByte(parts[0], ':')+1:])
	return u.String(), err
}

func (s *Server) room(ctx context.Context, name string) (*livekit.Room, error) {
	return await(ctx, func() (*livekit.Room, error) {
		r, err := s.rooms.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{name}})
		if err != nil || len(r.Rooms) == 0 {
			return nil, err
		}
		return r.Rooms[0], nil
	})
}

func (s *Server) token(identity, name string, g *auth.VideoGrant) (string, error) {
	return auth.NewAccessToken(s.cfg.LiveKitKey, s.cfg.LiveKitSecret).
		SetIdentity(identity).SetName(name).SetVideoGrant(g).SetValidFor(6 * time.Hour).ToJWT()
}

// listen joins the room of a session like SyncFlow's own listener: hidden but not as a recorder, so
// it keeps the room open and counts as a participant. When it leaves for any reason, the session
// becomes Stopped, even if the room still exists. It holds a database connection throughout, ends
// with this process and is never restarted.
func (s *Server) listen(t *thread, x session) {
	t.enter()
	ok := s.pool.take(s.cfg.Limits.PoolWait)
	t.leave()
	if !ok {
		s.log.Error("room listener: no database connection", "session_id", x.ID)
		return
	}
	defer s.pool.give()
	if err := s.attend(x); err != nil {
		s.log.Error("room listener", "session_id", x.ID, "error", err) // the session stays Started
	}
}

func (s *Server) attend(x session) error {
	if err := s.findRoom(x); err != nil {
		return err
	}
	g := &auth.VideoGrant{RoomJoin: true, Room: x.LivekitRoomName, RoomAdmin: true, Hidden: true}
	g.SetCanPublish(false)
	g.SetCanPublishData(true)
	g.SetCanSubscribe(true)
	token, err := s.token("room_listener", "room_listener", g)
	if err != nil {
		return err
	}
	gone, leave, err := s.rooms.Join(token)
	if err != nil {
		return err
	}
	s.live.Store(x.ID, x.LivekitRoomName)
	select {
	case <-gone:
		s.live.Delete(x.ID)
	case <-s.ctx.Done():
		s.live.Delete(x.ID)
		leave()
		return nil
	}
	if _, err := s.state.stopSession(x.ID); err != nil {
		return err
	}
	s.pause(s.cfg.Limits.ListenerLinger)
	return nil
}

// findRoom waits until the room of the session exists. If there is none for a long time, the
// listener joins and thereby creates it.
func (s *Server) findRoom(x session) error {
	for try := 1; ; try++ {
		room, err := s.room(s.ctx, x.LivekitRoomName)
		if err != nil {
			return err
		}
		if room != nil {
			id, err := sessionIn(room.Metadata)
			if err != nil || id == x.ID {
				return err
			}
		} else if try >= 10 {
			return nil
		}
		if !s.pause(s.cfg.Limits.ListenerPoll) {
			return s.ctx.Err()
		}
	}
}

// pause waits for d and reports whether this process is still running.
func (s *Server) pause(d time.Duration) bool {
	return backoff.Sleep(s.ctx, d) == nil
}

// listening returns the names of the rooms that this process has joined.
func (s *Server) listening() []string {
	rooms := []string{}
	s.live.Range(func(_, name any) bool {
		rooms = append(rooms, name.(string))
		return true
	})
	return rooms
}
