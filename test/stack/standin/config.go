// Package standin is a stand-in for the SyncFlow API. It keeps to the wire contract of the part
// that a recorder uses, including status codes, texts and defects that a client must live with,
// works with a real LiveKit server and a real RabbitMQ, and can be told to misbehave through
// /_control.
//
// It also has as little as the real API; see [Limits]. A pool of five database connections, one of
// which every running session holds; GET /sessions/{s}, which holds one while it waits for another;
// four threads, each of which a wait for a database connection blocks as a whole, together with
// handlers that hold one and only wait for LiveKit; RabbitMQ's questions, which are answered by the
// same threads. With four running sessions every GET /sessions/{s} stalls the API for half a
// minute, and with five nothing works any more until a session ends or the API is started again.
// Clients see closed connections and 408.
package standin

import (
	"encoding/json"
	"fmt"
	"os"
)

// Config is the deployment: where the other servers are and who may use the API.
type Config struct {
	Addr string `json:"addr"` // host:port to listen on
	Dir  string `json:"dir"`  // folder of the state file, the database of the stand-in

	LiveKitURL    string `json:"livekit_url"` // http://…
	LiveKitKey    string `json:"livekit_key"`
	LiveKitSecret string `json:"livekit_secret"`

	AMQPURL  string `json:"amqp_url"` // "" behaves like a broker that is down
	VHost    string `json:"vhost"`
	Exchange string `json:"exchange"`
	Queue    string `json:"queue"` // the API's own durable queue

	Limits Limits `json:"limits"`

	LoginSecret string    `json:"login_secret"` // signs dashboard tokens
	Users       []User    `json:"users"`
	Projects    []Project `json:"projects"`
}

// User owns projects.
type User struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Project is a SyncFlow project with its API keys.
type Project struct {
	ID     string `json:"id"`
	UserID int    `json:"user_id"`
	Name   string `json:"name"`
	// handed to clients exactly as it stands here
	LiveKitServerURL string   `json:"livekit_server_url"`
	Bucket           string   `json:"bucket"`
	Endpoint         string   `json:"endpoint"`
	Keys             []APIKey `json:"keys"`
}

// APIKey is a pair that signs project tokens.
type APIKey struct {
	Key    string `json:"key"`
	Secret string `json:"secret"`
}

// LoadConfig reads a JSON file.
func LoadConfig(path string) (Config, error) {
	var c Config
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
