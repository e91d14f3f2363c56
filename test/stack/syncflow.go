package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/syncflow/textegress/test/stack/standin"
)

// Names of the SyncFlow stand-in in RabbitMQ.
const (
	Exchange    = "syncflow_session_notifier_exchange"
	serverQueue = "syncflow_session_notifier_queue"
	DeviceGroup = "text-egress"
)

type (
	// Settings are the stand-in's settings; see its fields.
	Settings = standin.Settings
	// Fault makes requests fail.
	Fault = standin.Fault
	// Counters are the stand-in's counters.
	Counters = standin.Counters
	// SyncFlowLimits are the limits and times of the stand-in; see its fields. The zero value has
	// those of the real API.
	SyncFlowLimits = standin.Limits
)

// Crowd is limits that allow any number of running sessions, unlike those of the real API. It is
// for tests that need more than three sessions but do not test the limits.
var Crowd = SyncFlowLimits{Connections: 10_000, Threads: 100, Query: time.Nanosecond}

// SyncFlow is a running SyncFlow stand-in with a small client for tests. The client is not the one
// under test.
type SyncFlow struct {
	*Process
	URL      string // http://127.0.0.1:port
	Projects []Project
	// Foreign is a project of another user; the projects' tokens do not see it.
	Foreign Project

	rabbit *RabbitMQ // nil without RabbitMQ
	config string    // file
}

// Project is a SyncFlow project, with the fields of a recorder's configuration.
type Project struct {
	ID, Name    string
	Key, Secret string
	Bucket      string
}

// Session is a session as returned by the API.
type Session struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	LivekitRoomName string `json:"livekitRoomName"`
	ProjectID       string `json:"projectId"`
	Status          string `json:"status"` // "Started" or "Stopped"
	StartedAt       int64  `json:"startedAt"`
	NumParticipants int    `json:"numParticipants"`
	Participants    []struct {
		ID       string `json:"id"`
		Identity string `json:"identity"`
	} `json:"participants"`
}

// Device is a registered device.
type Device struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Group      string `json:"group"`
	ProjectID  string `json:"projectId"`
	Exchange   string `json:"sessionNotificationExchangeName"`
	BindingKey string `json:"sessionNotificationBindingKey"`
}

// APIError is a response with a status other than 200.
type APIError struct {
	Status int
	Body   string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("SyncFlow answered %d: %s", e.Status,
		e.Body)
}

// newProjects returns the configuration of n projects with buckets study-1, study-2, … and of one
// that belongs to another user.
func newProjects(n int) []Project {
	var list []Project
	for i := range n {
		list = append(list, Project{
			ID: uuid.NewString(), Name: fmt.Sprintf("Study %d", i+1), Key: rand.Text()[:10],
			Secret: rand.Text() + "abcdef", Bucket: fmt.Sprintf("study-%d", i+1),
		})
	}
	return append(list, Project{
		ID: uuid.NewString(), Name: "Somebody else's",
		Key: rand.Text()[:10], Secret: rand.Text() + "abcdef", Bucket: "elsewhere",
	})
}

func startSyncFlow(ctx context.Context, dir string, port int, lk *LiveKit, signalURL string,
	mq *RabbitMQ, s3 *S3, o Options,
) (*SyncFlow, error) {
	bin, err := EnsureBinaries(ctx, BinSyncFlow)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.json")
	list, err := keptProjects(file, o.Projects)
	if err != nil {
		return nil, err
	}
	cfg := standin.Config{
		Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: dir, LiveKitURL: lk.HTTPURL,
		LiveKitKey: lk.APIKey, LiveKitSecret: lk.APISecret,
		Exchange: Exchange, Queue: serverQueue, LoginSecret: rand.Text(), Limits: o.SyncFlow,
		Users: []standin.User{
			{ID: 1, Name: "teacher", Password: "teacher"},
			{ID: 2, Name: "somebody", Password: "somebody"},
		},
	}
	endpoint := "https://s3.invalid"
	if s3 != nil {
		endpoint = s3.Endpoint
	}
	if mq != nil {
		cfg.AMQPURL, cfg.VHost = mq.URL(), mq.VHost
	}
	for i, p := range list {
		user := 1
		if i == len(list)-1 {
			user = 2
		}
		cfg.Projects = append(cfg.Projects, standin.Project{
			ID: p.ID, UserID: user, Name: p.Name, LiveKitServerURL: signalURL,
			Bucket: p.Bucket, Endpoint: endpoint,
			Keys: []standin.APIKey{{Key: p.Key, Secret: p.Secret}},
		})
	}
	if err := writeConfig(file, cfg); err != nil {
		return nil, err
	}
	s := &SyncFlow{
		URL: "http://" + cfg.Addr, Projects: list[:len(list)-1],
		Foreign: list[len(list)-1], rabbit: mq, config: file,
	}
	s.Process, err = StartProcess(ctx, ProcessSpec{
		Name: "syncflow", Path: filepath.Join(bin, BinSyncFlow), Args: []string{"-config", file},
		Dir: dir,
		Log: filepath.Join(dir, "syncflow.log"), StopTimeout: 30 * time.Second,
		Ready: func(ctx context.Context) error { return httpOK(ctx, s.URL+"/_control") },
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func writeConfig(file string, cfg standin.Config) error {
	b, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// Limit kills the API and restarts it with other limits, without its listeners.
func (s *SyncFlow) Limit(ctx context.Context, l SyncFlowLimits) error {
	cfg, err := standin.LoadConfig(s.config)
	if err != nil {
		return err
	}
	cfg.Limits = l
	if err := writeConfig(s.config, cfg); err != nil {
		return err
	}
	if err := s.Kill(); err != nil {
		return err
	}
	return s.Start(ctx)
}

// keptProjects returns the projects of an earlier run in the same directory if their number is the
// same, so that their ids and keys stay.
func keptProjects(file string, n int) ([]Project, error) {
	old, err := standin.LoadConfig(file)
	if os.IsNotExist(err) || (err == nil && len(old.Projects) != n+1) {
		return newProjects(n), nil
	}
	var list []Project
	for _, p := range old.Projects {
		list = append(list, Project{
			ID: p.ID, Name: p.Name, Key: p.Keys[0].Key,
			Secret: p.Keys[0].Secret, Bucket: p.Bucket,
		})
	}
	return list, err
}

// Claims returns the claims of a fresh project token, for modification in tests of refusals.
func (p Project) Claims() jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"iss": p.Key, "projectId": p.ID, "iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix(),
	}
}

// Token signs a project token with the project's secret. Nil claims: the usual ones.
func (p Project) Token(claims jwt.MapClaims) (string, error) {
	if claims == nil {
		claims = p.Claims()
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(p.Secret))
}

// Call makes one request as a project. The path is relative to the project, or absolute if it
// begins with a slash. in is sent as JSON unless it is nil or an io.Reader; out, unless nil,
// receives the response. A status other than 200 gives an *APIError.
func (s *SyncFlow) Call(ctx context.Context, p Project, method, path string, in, out any) error {
	token, err := p.Token(nil)
	if err != nil {
		return err
	}
	target := s.URL + "/projects/" + p.ID
	if path != "" && path[0] == '/' {
		target = s.URL + path
	} else if path != "" {
		target += "/" + path
	}
	return s.CallWithToken(ctx, token, method, target, in, out)
}

// CallWithToken is Call with any bearer token ("" for none) and a complete URL.
func (s *SyncFlow) CallWithToken(ctx context.Context, token, method, target string, in,
	out any,
) error {
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case io.Reader:
		body = v
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := probe.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &APIError{resp.StatusCode, string(b)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// RegisterDevice registers a device; the API does not check for an equal one.
func (s *SyncFlow) RegisterDevice(ctx context.Context, p Project, name, group string) (Device,
	error,
) {
	var d Device
	return d, s.Call(ctx, p, "POST", "devices/register",
		map[string]any{"name": name, "group": group}, &d)
}

// Devices lists the devices of a project.
func (s *SyncFlow) Devices(ctx context.Context, p Project) ([]Device, error) {
	var l []Device
	return l, s.Call(ctx, p, "GET", "devices", nil, &l)
}

// DeleteDevice removes a device.
func (s *SyncFlow) DeleteDevice(ctx context.Context, p Project, id string) error {
	return s.Call(ctx, p, "DELETE", "devices/"+url.PathEscape(id), nil, nil)
}

// CreateSession creates a session, which the API announces to every group. Every group needs a
// registered device.
func (s *SyncFlow) CreateSession(ctx context.Context, p Project, name string,
	groups ...string,
) (Session, error) {
	var x Session
	in := map[string]any{"name": name}
	if len(groups) > 0 {
		in["deviceGroups"] = groups
	}
	return x, s.Call(ctx, p, "POST", "create-session", in, &x)
}

// StopSession ends a session: the API deletes its room.
func (s *SyncFlow) StopSession(ctx context.Context, p Project, id string) (Session, error) {
	var x Session
	return x, s.Call(ctx, p, "POST", "sessions/"+url.PathEscape(id)+"/stop", map[string]any{}, &x)
}

// DeleteSession removes a session and its room.
func (s *SyncFlow) DeleteSession(ctx context.Context, p Project, id string) error {
	return s.Call(ctx, p, "DELETE", "sessions/"+url.PathEscape(id), nil, nil)
}

// Session returns one session.
func (s *SyncFlow) Session(ctx context.Context, p Project, id string) (Session, error) {
	var x Session
	return x, s.Call(ctx, p, "GET", "sessions/"+url.PathEscape(id), nil, &x)
}

// Sessions lists all sessions of a project.
func (s *SyncFlow) Sessions(ctx context.Context, p Project) ([]Session, error) {
	var l []Session
	return l, s.Call(ctx, p, "GET", "sessions", nil, &l)
}

// JoinToken requests a token for an ordinary participant.
func (s *SyncFlow) JoinToken(ctx context.Context, p Project, x Session, identity string) (token,
	livekitURL string, err error,
) {
	var out struct{ Token, LivekitServerURL string }
	err = s.Call(ctx, p, "POST", "sessions/"+x.ID+"/token",
		map[string]any{"identity": identity, "videoGrants": VideoGrants(x.LivekitRoomName)}, &out)
	return out.Token, out.LivekitServerURL, err
}

// VideoGrants returns the fourteen fields of a token request, for an ordinary participant.
func VideoGrants(room string) map[string]any {
	return map[string]any{
		"roomCreate": false, "roomList": false, "roomRecord": false, "roomAdmin": false,
		"roomJoin": true, "room": room,
		"canPublish": true, "canSubscribe": true, "canPublishData": true,
		"canPublishSources":    []string{},
		"canUpdateOwnMetadata": false, "ingressAdmin": false, "hidden": false, "recorder": false,
	}
}

// Announce publishes any bytes to the exchange of the API's notifications, with the routing key of
// a project's group: a malformed announcement, a repeated one, or many at once.
func (s *SyncFlow) Announce(ctx context.Context, p Project, group string, bodies ...[]byte) error {
	return s.rabbit.Publish(ctx, Exchange, p.ID+"."+group, bodies...)
}

// Announcement returns the body with which the API announces a session.
func Announcement(sessionID, roomName string) []byte {
	// strings always marshal
	b, _ := json.Marshal(map[string]string{"sessionId": sessionID, "sessionName": roomName})
	return b
}
