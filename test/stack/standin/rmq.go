package standin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// notifier is the API's only AMQP connection. It is opened once and never reopened: after a restart
// of the broker it stays closed, and the exchange, which is not durable, is missing until the API
// restarts.
type notifier struct {
	url, exchange, queue string

	mu   sync.Mutex
	conn *amqp.Connection
	ch   *amqp.Channel
}

var errNoBroker = errors.New("RabbitMQ error: not connected")

func (n *notifier) connect() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		_ = n.conn.Close()
		n.conn, n.ch = nil, nil
	}
	if n.url == "" {
		return nil
	}
	conn, err := amqp.Dial(n.url)
	if err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare(n.exchange, amqp.ExchangeTopic, false, false, false, false, nil)
	}
	if err == nil {
		_, err = ch.QueueDeclare(n.queue, true, false, false, false, nil)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	n.conn, n.ch = conn, ch
	return nil
}

func (n *notifier) bind(routingKey string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		return errNoBroker
	}
	return n.ch.QueueBind(n.queue, routingKey, n.exchange, false, nil)
}

// announce sends one notification: transient, without properties, confirms or the mandatory flag.
func (n *notifier) announce(ctx context.Context, routingKey string, sessionID,
	roomName string,
) error {
	body, err := json.Marshal(struct {
		SessionID   string `json:"sessionId"`
		SessionName string `json:"sessionName"`
	}{sessionID, roomName})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		return errNoBroker
	}
	return n.ch.PublishWithContext(ctx, n.exchange, routingKey, false, false,
		amqp.Publishing{Body: body})
}

// hook handles RabbitMQ's authentication requests, on the same threads and with the same database
// connections as all other requests. A denial is a 401 without a body. RabbitMQ treats it as a
// failure of the backend and denies access as well.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	params := map[string][]string{
		"user":     {"username", "password"},
		"vhost":    {"username", "vhost", "ip"},
		"resource": {"username", "vhost", "resource", "name", "permission"},
		"topic":    {"username", "vhost", "resource", "name", "permission", "routing_key"},
	}
	kind, q := r.PathValue("kind"), r.URL.Query()
	names, ok := params[kind]
	if !ok {
		fail(w, http.StatusNotFound, "Resource not found")
		return
	}
	for _, p := range names {
		if !q.Has(p) {
			plain(w, http.StatusBadRequest, "Query deserialize error: missing field `"+p+"`")
			return
		}
	}
	if !s.allow(kind, q.Get) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	plain(w, http.StatusOK, "allow")
}

// allow implements SyncFlow's actual rules, which are laxer than they appear: the group in the
// password is not checked, and any resource is allowed.
func (s *Server) allow(kind string, param func(string) string) bool {
	s.query()
	who, err := s.verify(param("username"))
	if err != nil {
		return false
	}
	switch kind {
	case "user":
		if who.Project == "" {
			return false
		}
		s.query()
		return true
	case "vhost":
		return param("vhost") == s.cfg.VHost
	case "resource":
		return param("vhost") == s.cfg.VHost && who.Project != ""
	}
	if param("vhost") != s.cfg.VHost || who.Project == "" {
		return false
	}
	if param("permission") != "read" || param("name") != s.cfg.Exchange {
		return true
	}
	s.query()
	for _, d := range s.state.devices(canonical(who.Project)) {
		if param("routing_key") == who.Project+"."+d.Group { // the project as spelled in the token
			return true
		}
	}
	return false
}
