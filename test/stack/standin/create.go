package standin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/livekit/protocol/livekit"
)

type newSession struct {
	Name, Comments                string
	EmptyTimeout, MaxParticipants int
	DeviceGroups                  []string
}

func (s *Server) createSession(w http.ResponseWriter, r *http.Request) {
	var in newSession
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
	s.query()
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
	x, status, err := s.makeSession(ctx, project, in)
	if err != nil {
		fail(w, status, err.Error())
		return
	}
	s.query()
	if !s.control.get().NoListener {
		// The listener waits for the thread of this handler.
		go s.listen(ctx.Value(threadKey{}).(*thread), x)
	}
	for _, g := range in.DeviceGroups {
		// The announcement names the project as spelled in the request's URL.
		announce := func() (any, error) {
			return nil, s.rmq.announce(ctx, r.PathValue("p")+"."+g, x.ID, x.LivekitRoomName)
		}
		if _, err := await(ctx, announce); err != nil {
			fail(w, http.StatusInternalServerError, err.Error()) // room, row and listener stay
			return
		}
	}
	reply(w, viewSession(x))
}

// makeSession creates the room and the row, and holds a database connection throughout. With an
// error, it returns the status of the response.
func (s *Server) makeSession(ctx context.Context, project string, in newSession) (x session,
	status int, err error,
) {
	defer s.connect()()
	name := in.Name
	if name == "" {
		name = "session-" + letters(4) + "-" + letters(4)
	}
	room, err := s.room(ctx, name)
	if err != nil {
		return x, http.StatusInternalServerError, err
	}
	if room != nil {
		return x, http.StatusBadRequest,
			fmt.Errorf("Session name %q session already exists and is active, please stop "+
				"the session", name)
	}
	create := &livekit.CreateRoomRequest{
		Name: name, EmptyTimeout: 600, MaxParticipants: 100,
		Metadata: in.Comments,
	}
	if in.EmptyTimeout > 0 {
		create.EmptyTimeout = uint32(in.EmptyTimeout)
	}
	if in.MaxParticipants > 0 {
		create.MaxParticipants = uint32(in.MaxParticipants)
	}
	room, err = await(ctx, func() (*livekit.Room, error) { return s.rooms.CreateRoom(ctx, create) })
	if err != nil {
		return x, http.StatusInternalServerError, err
	}
	now := time.Now().Unix()
	x = session{
		ID: uuid.NewString(), Name: name, StartedAt: now, UpdatedAt: now, Comments: in.Comments,
		EmptyTimeout:    in.EmptyTimeout,
		MaxParticipants: in.MaxParticipants, LivekitRoomName: room.Name, ProjectID: project,
		Status: Started,
	}
	if err := s.state.addSession(x); err != nil {
		return x, http.StatusInternalServerError, err // the room is orphaned
	}
	update := &livekit.UpdateRoomMetadataRequest{Room: room.Name, Metadata: roomMetadata(x)}
	_, err = await(ctx, func() (*livekit.Room, error) {
		return s.rooms.UpdateRoomMetadata(ctx,
			update)
	})
	if err == nil {
		s.settle(ctx, update)
	}
	return x, http.StatusInternalServerError, err
}

// settle waits until LiveKit lists the metadata of a room. It answers the request to set them
// before it has stored them, and a listener that is faster takes the room for another session's.
func (s *Server) settle(ctx context.Context, update *livekit.UpdateRoomMetadataRequest) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		room, err := s.room(ctx, update.Room)
		if err != nil || room == nil || room.Metadata == update.Metadata {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}
