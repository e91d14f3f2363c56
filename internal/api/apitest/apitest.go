// Package apitest provides an implementation of [api.Service] in memory, and access tokens, for
// tests of the API and of its clients.
package apitest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	lk "github.com/syncflow/textegress/internal/livekit"
)

// Service records rooms in memory. Recordings begin at fixed times, one second apart.
type Service struct {
	mu         sync.Mutex
	rooms      map[string]bool                  // by project and name
	recordings map[string][]*livekit.EgressInfo // by project
	requests   map[string]api.Start             // by egress id
	started    int
	deliver    bool // stopped recordings are delivered at once
	calls      []string
	failures   []error
}

// New returns a Service without rooms.
func New() *Service {
	return &Service{
		rooms: map[string]bool{}, recordings: map[string][]*livekit.EgressInfo{},
		requests: map[string]api.Start{},
	}
}

// OpenRoom creates a room.
func (s *Service) OpenRoom(project, room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms[project+" "+room] = true
}

// DeliverStopped makes every recording complete right after its Stop.
func (s *Service) DeliverStopped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver = true
}

// FailNext makes the next calls return these errors, one each. A failed call still has its effect,
// like a call whose answer is lost.
func (s *Service) FailNext(errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = errs
}

// Calls returns the calls so far, such as "Stop livekit DE_000000000001".
func (s *Service) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

// Request returns the request that started a recording.
func (s *Service) Request(egressID string) api.Start {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[egressID]
}

// call records a call and returns the error that it must return.
func (s *Service) call(name, project, what string) error {
	s.calls = append(s.calls, strings.TrimSpace(name+" "+project+" "+what))
	if len(s.failures) == 0 {
		return nil
	}
	err := s.failures[0]
	s.failures = s.failures[1:]
	return err
}

// Start implements [api.Service].
func (s *Service) Start(_ context.Context, project string, r api.Start) (
	*livekit.EgressInfo, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failure := s.call("Start", project, r.Room)
	for id, before := range s.requests {
		if r.RequestID == "" || before.RequestID != r.RequestID {
			continue
		}
		if !reflect.DeepEqual(before, r) {
			return nil, &api.RecordedError{
				EgressID: id, Reason: "another request had the same request_id",
			}
		}
		return copyOf(s.recording(project, id)), failure
	}
	if !s.rooms[project+" "+r.Room] {
		return nil, fmt.Errorf("%w: %q; create it, or set wait", api.ErrNoRoom, r.Room)
	}
	for _, e := range s.recordings[project] {
		if e.GetRoomName() == r.Room && e.GetStatus() < livekit.EgressStatus_EGRESS_COMPLETE {
			return nil, &api.RecordedError{
				EgressID: e.GetEgressId(), Reason: "the room is being recorded",
			}
		}
	}
	s.started++
	at := time.Date(2026, 9, 14, 9, 0, s.started, 0, time.UTC).UnixNano()
	e := &livekit.EgressInfo{
		EgressId: fmt.Sprintf("DE_%012d", s.started), RoomName: r.Room,
		RoomId:     fmt.Sprintf("RM_%012d", s.started),
		SourceType: livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK,
		Status:     livekit.EgressStatus_EGRESS_ACTIVE, StartedAt: at, UpdatedAt: at,
	}
	s.requests[e.GetEgressId()] = r
	s.recordings[project] = append(s.recordings[project], e)
	return copyOf(e), failure
}

// Stop implements [api.Service].
func (s *Service) Stop(_ context.Context, project, egressID string) (*livekit.EgressInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failure := s.call("Stop", project, egressID)
	e := s.recording(project, egressID)
	if e == nil {
		return nil, fmt.Errorf("%w: %s", api.ErrUnknown, egressID)
	}
	if e.GetStatus() < livekit.EgressStatus_EGRESS_ENDING {
		e.Status = livekit.EgressStatus_EGRESS_ENDING
		e.EndedAt = e.GetStartedAt() + int64(time.Minute)
		e.UpdatedAt = e.GetEndedAt()
	}
	answer := copyOf(e)
	if s.deliver {
		complete(project, e)
	}
	return answer, failure
}

// Deliver makes a recording complete.
func (s *Service) Deliver(project, egressID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	complete(project, s.recording(project, egressID))
}

// complete makes a recording complete. The mutex of the service is held.
func complete(project string, e *livekit.EgressInfo) {
	prefix := project + "/" + e.GetRoomName() + "/data-egress/" + e.GetEgressId() + "/"
	e.Status = livekit.EgressStatus_EGRESS_COMPLETE
	e.EndedAt = e.GetStartedAt() + int64(time.Minute)
	e.UpdatedAt = e.GetEndedAt() + int64(time.Second)
	e.ManifestLocation = "s3://recordings/" + prefix + "manifest.json"
	e.Details = "Packets: 42, in 40 messages. Outages: 0."
	e.FileResults = []*livekit.FileInfo{{
		Filename: prefix + "events.jsonl", Location: "s3://recordings/" + prefix + "events.jsonl",
		StartedAt: e.GetStartedAt(), EndedAt: e.GetEndedAt(), Duration: int64(time.Minute),
		Size: 4096,
	}}
}

// List implements [api.Service]. It returns every recording of the project.
func (s *Service) List(_ context.Context, project string, _ api.Filter) (
	[]*livekit.EgressInfo, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call("List", project, ""); err != nil {
		return nil, err
	}
	var list []*livekit.EgressInfo
	for _, e := range s.recordings[project] {
		list = append(list, copyOf(e))
	}
	return list, nil
}

// Statement implements [api.Service].
func (s *Service) Statement(_ context.Context, project, egressID string) (
	*dataegress.Statement, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failure := s.call("Statement", project, egressID)
	e := s.recording(project, egressID)
	if e == nil {
		return nil, fmt.Errorf("%w: %s", api.ErrUnknown, egressID)
	}
	return &dataegress.Statement{
		EgressId: egressID, Status: e.GetStatus(), Packets: 42, Messages: 40, Bytes: 1234,
		Final:     e.GetStatus() >= livekit.EgressStatus_EGRESS_COMPLETE,
		StartedAt: e.GetStartedAt(), EndedAt: e.GetEndedAt(), Tail: "left",
		Summary: e.GetDetails(), ManifestLocation: e.GetManifestLocation(),
	}, failure
}

func (s *Service) recording(project, egressID string) *livekit.EgressInfo {
	for _, e := range s.recordings[project] {
		if e.GetEgressId() == egressID {
			return e
		}
	}
	return nil
}

func copyOf(e *livekit.EgressInfo) *livekit.EgressInfo {
	return proto.Clone(e).(*livekit.EgressInfo)
}

// Token returns an access token, valid for a minute, with a grant such as {"roomRecord": true}.
func Token(t *testing.T, key lk.Key, video map[string]any) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": key.ID, "exp": time.Now().Add(time.Minute).Unix(), "video": video,
	}).SignedString([]byte(key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
