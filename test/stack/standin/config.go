// Package standin is a stand-in for the SyncFlow API. It implements the wire contract of the part
// that a recorder uses, including status codes, texts and defects that a client must handle. It
// works with a real LiveKit server and a real RabbitMQ. Tests can inject faults through /_control.
//
// It also has the limits of the real API; see [Limits]. Every running session holds one of five
// database connections. GET /sessions/{s} holds one connection while it waits for another. There
// are four threads. A wait for a database connection blocks a whole thread, including handlers on
// it that hold a connection and wait only for LiveKit. The same threads handle RabbitMQ's
// authentication requests. With four running sessions, every GET /sessions/{s} stalls the API for
// half a minute. With five, nothing works until a session ends or the API is restarted. Clients see
// closed connections and status 408.
package standin

import (
	"encoding/json"
	"fmt"
	"os"
)

// Config describes the deployment: the addresses of the other servers and the users of the API.
type Config struct {
	Addr string `json:"addr"` // host:port to listen on
	Dir  string `json:"dir"`  // directory of the state file, the database of the stand-in

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
	// returned to clients unchanged
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
