package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	heartbeat = 30 * time.Second
	// dialTimeout covers TCP, TLS and login. RabbitMQ queries SyncFlow's API during a login, which
	// may take half a minute.
	dialTimeout = 60 * time.Second
	// connectTimeout covers TCP alone. A machine that restarts does not answer at all, and the
	// kernel retries at growing intervals only.
	connectTimeout = 5 * time.Second
	// closeTimeout bounds the wait for the broker to confirm that a connection closes.
	closeTimeout = 3 * time.Second
)

// connection and channel are the parts of the AMQP library that this package uses; tests implement
// them with a scripted broker.
type connection interface {
	Channel() (channel, error)
	NotifyClose(chan *amqp.Error) chan *amqp.Error
	CloseDeadline(time.Time) error
}

type channel interface {
	Qos(prefetchCount, prefetchSize int, global bool) error
	QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool,
		args amqp.Table) (amqp.Queue, error)
	QueueDeclarePassive(name string, durable, autoDelete, exclusive, noWait bool,
		args amqp.Table) (amqp.Queue, error)
	QueueBind(name, key, exchange string, noWait bool, args amqp.Table) error
	ExchangeDeclare(name, kind string, durable, autoDelete, internal, noWait bool,
		args amqp.Table) error
	ExchangeDeclarePassive(name, kind string, durable, autoDelete, internal, noWait bool,
		args amqp.Table) error
	ExchangeDelete(name string, ifUnused, noWait bool) error
	QueueDelete(name string, ifUnused, ifEmpty, noWait bool) (int, error)
	Consume(queue, consumer string, autoAck, exclusive, noLocal, noWait bool,
		args amqp.Table) (<-chan amqp.Delivery, error)
	NotifyClose(chan *amqp.Error) chan *amqp.Error
	Close() error
}

type amqpConnection struct{ *amqp.Connection }

func (c amqpConnection) Channel() (channel, error) {
	ch, err := c.Connection.Channel()
	if err != nil {
		return nil, err
	}
	return ch, nil
}

// dialer opens a connection with the given credentials.
type dialer func(ctx context.Context, o Options, user, password string) (connection, error)

// dial connects and logs in. It stops when ctx ends.
func dial(ctx context.Context, o Options, user, password string) (connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp",
		net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil {
		return nil, err
	}
	if tlsConfig != nil {
		t := tls.Client(conn, tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, ignoreClosed(conn.Close()))
		}
		conn = t
	}
	// amqp.Open takes no context, but it returns when its connection breaks.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, err := amqp.Open(conn, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}},
		Vhost: o.VHost, Heartbeat: heartbeat, Locale: "en_US", FrameSize: 128 << 10, ChannelMax: 16,
		Properties: amqp.Table{"product": "textegress", "connection_name": "textegress " +
			o.Instance},
	})
	if err != nil {
		_ = conn.Close() // the first error is the one that matters
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return amqpConnection{c}, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// tlsConfig returns nil without TLS. With a CA file only certificates signed by it are accepted.
func (o Options) tlsConfig() (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	roots := o.RootCAs
	if roots == nil && o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("RABBITMQ_CA_FILE: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("RABBITMQ_CA_FILE: no certificate in PEM form")
		}
	}
	return &tls.Config{ServerName: o.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// login connects with fresh credentials. Errors contain no secrets; those of the broker are
// BrokerErrors.
func (o Options) login(ctx context.Context, d dialer) (connection, error) {
	user, password := o.Username, o.Password
	if user == "" {
		// The broker checks the token only when something is opened or declared: a connection
		// outlives its token.
		token, err := o.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("project token for RabbitMQ: %w", err)
		}
		user, password = token, o.Group
	}
	c, err := d(ctx, o, user, password)
	if err != nil {
		return nil, brokerError("login", err, o)
	}
	return c, nil
}
