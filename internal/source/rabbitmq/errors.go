package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/redact"
)

// BrokerError is a failure at the broker. It does not wrap the AMQP error: the broker's texts quote
// the user name, which is our project token.
type BrokerError struct {
	Addr string // host and port of the broker
	Op   string // the operation: "login", "queue", "binding", "consume", …
	Code int    // AMQP reply code, 0 if there is none
	// text of the broker or the network, see redact.Text
	Reason string
	Remedy string // what to do about it, "" if unknown
}

func (e *BrokerError) Error() string {
	s := "RabbitMQ"
	if e.Addr != "" {
		s += " at " + e.Addr
	}
	s += ", " + e.Op + ": "
	if e.Code != 0 {
		s += fmt.Sprintf("%d ", e.Code)
	}
	s += e.Reason
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// brokerError converts an error of the AMQP library or the network.
func brokerError(op string, err error, o Options) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*BrokerError](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("RabbitMQ, %s: %w", op, context.Canceled)
	}
	e := &BrokerError{Addr: o.addr(), Op: op, Reason: redact.Error(err, o.Password).Error()}
	var ae *amqp.Error
	var tlsRecord tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var dns *net.DNSError
	var ne net.Error
	switch {
	case errors.As(err, &ae):
		e.Code, e.Reason = ae.Code, redact.Text(ae.Reason, o.Password)
		e.Remedy = remedy(op, ae, o)
	case errors.As(err, &tlsRecord):
		e.Remedy = "the port answers without TLS: set RABBITMQ_TLS to false, or RABBITMQ_PORT to " +
			"the TLS port"
	case errors.As(err, &unknown):
		e.Remedy = "the broker's certificate is signed by an authority this machine does not " +
			"know: set RABBITMQ_CA_FILE"
	case errors.As(err, &wrongHost):
		e.Remedy = "the broker's certificate is for another name: set RABBITMQ_HOST to a name in it"
	case errors.As(err, &dns):
		e.Remedy = "the host name cannot be resolved: check RABBITMQ_HOST and the DNS of " +
			"this machine"
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		e.Remedy = "no answer in time: check RABBITMQ_HOST, RABBITMQ_PORT and the firewall; a " +
			"SyncFlow API that is down or stalled also makes logins hang"
	case strings.Contains(err.Error(), "connection refused"):
		e.Remedy = "nothing listens there: check RABBITMQ_HOST and RABBITMQ_PORT, and that the " +
			"broker runs"
	case errors.Is(err, io.EOF):
		e.Remedy = "the broker closed the connection: check RABBITMQ_PORT and RABBITMQ_TLS"
	}
	return e
}

func remedy(op string, e *amqp.Error, o Options) string {
	switch {
	case op == "login" && e.Code == amqp.AccessRefused && o.Username == "":
		return "the broker asked SyncFlow and the project token was refused: check the API key, " +
			"its secret, the project id and this machine's clock, and that the SyncFlow API is up"
	case op == "login" && e.Code == amqp.AccessRefused:
		return "check RABBITMQ_USERNAME and RABBITMQ_PASSWORD"
	case op == "login" && (e.Code == amqp.NotAllowed || e.Code == amqp.InvalidPath):
		return "check RABBITMQ_VHOST_NAME"
	case op == "login" && !e.Server:
		return "the port does not speak AMQP: check RABBITMQ_PORT, and RABBITMQ_TLS: a TLS port " +
			"hangs up on a plain client"
	case op == "binding" && e.Code == amqp.NotFound:
		return "the exchange of SyncFlow does not exist: the SyncFlow API declares it when it " +
			"starts; after a restart of the broker the API must be restarted too"
	case op == "exchange" && e.Code == amqp.PreconditionFailed:
		return "the exchange exists with other properties: nothing is to be done if it can be bound"
	case e.Code == amqp.AccessRefused && ofTopic(e.Reason):
		return "SyncFlow allows the binding only while a device of the group is registered: " +
			"check DEVICE_GROUP_NAME and the project's devices"
	case e.Code == amqp.AccessRefused && o.Username == "":
		return "the broker asked the SyncFlow API, which did not answer it: it stalls or is " +
			"down. If that lasts, the broker denies our user the " +
			"permissions configure, write and read for queues named textegress.*"
	case e.Code == amqp.AccessRefused:
		return "the broker's user needs the permissions configure, write and read for queues " +
			"named textegress.*, and read on SyncFlow's exchange"
	case e.Code == amqp.PreconditionFailed:
		return "a queue of this name exists with other properties: stop the service, delete the " +
			"queue, start again"
	case e.Code == amqp.ResourceLocked:
		return "the queue belongs to another connection: is another service with the same " +
			"INSTANCE running?"
	}
	return ""
}

// ofTopic reports whether a refusal concerns the routing key: SyncFlow then has no device of the
// group. SyncFlow allows queues and exchanges to every project token, so a refusal of these means
// that SyncFlow did not answer.
func ofTopic(reason string) bool { return strings.Contains(reason, "access to topic") }

// refusal is the cause of a refused command.
type refusal int

const (
	refusedNothing    refusal = iota // the error is no refusal
	refusedTopic                     // no device of the group is registered
	refusedUnanswered                // the broker queried SyncFlow's API and got no answer
)

func refusalOf(err error) refusal {
	e, ok := errors.AsType[*BrokerError](err)
	switch {
	case !ok || e.Code != amqp.AccessRefused:
		return refusedNothing
	case ofTopic(e.Reason):
		return refusedTopic
	}
	return refusedUnanswered
}

// addr is the broker's host and port.
func (o Options) addr() string {
	if o.Host == "" {
		return ""
	}
	return net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
}

// code is the AMQP reply code of an error, 0 if it has none.
func code(err error) int {
	if be, ok := errors.AsType[*BrokerError](err); ok {
		return be.Code
	}
	if ae, ok := errors.AsType[*amqp.Error](err); ok {
		return ae.Code
	}
	return 0
}
