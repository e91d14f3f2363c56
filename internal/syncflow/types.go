package syncflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// Project is a SyncFlow project.
type Project struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // free text: spaces, slashes, anything
	LiveKitURL string `json:"livekitServerUrl"`
	// SyncFlow's own storage for media; our bucket is configured separately
	BucketName string `json:"bucketName"`
	Endpoint   string `json:"endpoint"`
}

// Device is one row of a project's registered devices. Several rows may have the same name and
// group.
type Device struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Group        string      `json:"group"`
	RegisteredAt unixSeconds `json:"registeredAt"`
	// where announcements are published
	ExchangeName string `json:"sessionNotificationExchangeName"`
	BindingKey   string `json:"sessionNotificationBindingKey"` // "<project id>.<group>"
}

// StatusStarted is the Status of a running session. It can be wrong after a restart of the API.
const StatusStarted = "Started"

// Session is one run of a room.
type Session struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	RoomName  string      `json:"livekitRoomName"` // the name in tokens and announcements
	ProjectID string      `json:"projectId"`
	Status    string      `json:"status"` // "Created", "Started", "Stopped"
	StartedAt unixSeconds `json:"startedAt"`
	// NumParticipants is the number of participants that LiveKit has in the room of a running
	// session, hidden ones included. It is present only in the list.
	NumParticipants Count `json:"numParticipants"`
}

// Empty reports whether the room of a session is empty or missing: a session stays Started for ever
// if the API missed its end. It is for elements of the list.
func (s Session) Empty() bool { return s.NumParticipants.Known && s.NumParticipants.N == 0 }

// InUse reports whether anybody is in the room. It is for elements of the list. Without a number of
// participants, neither Empty nor InUse is true.
func (s Session) InUse() bool { return s.NumParticipants.Known && s.NumParticipants.N > 0 }

// Count is a number that may be absent; Known is then false. Like [unixSeconds] it accepts what
// other versions of the API might send; anything but a whole number counts as absent.
type Count struct {
	N     int
	Known bool
}

// UnmarshalJSON never fails.
func (c *Count) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(string(b))
	*c = Count{n, err == nil && n >= 0}
	return nil
}

// Active reports whether the session is running according to SyncFlow.
func (s Session) Active() bool { return s.Status == StatusStarted }

// session converts a running session to the type of package session.
func (s Session) session() session.Session {
	of := session.Session{ID: s.ID, Room: s.RoomName, StartedAt: s.StartedAt.Time}
	switch {
	case s.Empty():
		of.State = session.Empty
	case s.InUse():
		of.State = session.Running
	}
	return of
}

// elementCount is the number of objects in a list, whose content is discarded.
type elementCount int

// UnmarshalJSON refuses anything but a list of objects: an empty room must not be guessed.
func (n *elementCount) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '[' {
		return errors.New("not a list")
	}
	var list []struct{}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("not a list of objects: %w", err)
	}
	*n = elementCount(len(list))
	return nil
}

// unixSeconds is a time in JSON as a number of seconds. It accepts what other versions of the API
// might send (a fraction, a string, null), so that a field that is only displayed does not
// invalidate a whole list of sessions.
type unixSeconds struct{ time.Time }

// UnmarshalJSON never fails: an unreadable time is the zero time.
func (u *unixSeconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err == nil && !math.IsNaN(f) && math.Abs(f) < 1e11 {
		u.Time = time.Unix(int64(f), 0).UTC()
	}
	return nil
}

// MarshalJSON writes the format of the API.
func (u unixSeconds) MarshalJSON() ([]byte, error) { return json.Marshal(u.Unix()) }

// grants are the fourteen LiveKit grants of a token request. The server has no defaults: every
// field must be sent.
type grants struct {
	RoomCreate           bool     `json:"roomCreate"`
	RoomList             bool     `json:"roomList"`
	RoomRecord           bool     `json:"roomRecord"`
	RoomAdmin            bool     `json:"roomAdmin"`
	RoomJoin             bool     `json:"roomJoin"`
	Room                 string   `json:"room"`
	CanPublish           bool     `json:"canPublish"`
	CanSubscribe         bool     `json:"canSubscribe"`
	CanPublishData       bool     `json:"canPublishData"`
	CanPublishSources    []string `json:"canPublishSources"`
	CanUpdateOwnMetadata bool     `json:"canUpdateOwnMetadata"`
	IngressAdmin         bool     `json:"ingressAdmin"`
	Hidden               bool     `json:"hidden"`
	Recorder             bool     `json:"recorder"`
}

// passive returns the grants of a hidden recorder: it takes no participant's place, does not keep
// the room open, is invisible to other clients and cannot publish. Data packets are delivered only
// to participants that may subscribe.
func passive(room string) grants {
	return grants{
		RoomJoin: true, Room: room, CanSubscribe: true, CanPublishSources: []string{},
		Hidden: true, Recorder: true,
	}
}
