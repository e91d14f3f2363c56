package stack

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitScripts is the directory of the scripts that run as the calling user. Those in /usr/sbin
// switch to the user rabbitmq.
const rabbitScripts = "/usr/lib/rabbitmq/bin/"

// ErrNoRabbitMQ is returned when the RabbitMQ server is not installed.
var ErrNoRabbitMQ = errors.New("stack: rabbitmq-server is not installed: as root, run\n" +
	"  printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod +x " +
	"/usr/sbin/policy-rc.d  # no system service\n" +
	"  apt-get install --no-install-recommends rabbitmq-server && rm /usr/sbin/policy-rc.d")

// RabbitMQOptions configures a RabbitMQ node.
type RabbitMQOptions struct {
	// Dir is the node's directory, required. A node restarted in it keeps its durable queues and
	// messages.
	Dir string
	// AuthURL is the base URL of the SyncFlow API whose /rmq/auth hooks decide on logins of users
	// that are not in the internal database. Empty: only internal users.
	AuthURL string
	// TLS opens a second listener with a certificate of a private authority.
	TLS bool
	// ExtraConf is appended to rabbitmq.conf.
	ExtraConf []string
}

// RabbitMQ is a private RabbitMQ node on loopback with its own epmd. It shares nothing with the
// system's RabbitMQ.
type RabbitMQ struct {
	*Process
	Host    string // 127.0.0.1
	Port    int    // plain AMQP
	TLSPort int    // AMQP over TLS, 0 without TLS
	// PEM file of the authority that signed the TLS listener's certificate, "" without TLS
	CAFile string
	VHost  string // "syncflow"

	// User and Password are an internal user with all rights.
	User, Password string

	opt  RabbitMQOptions
	epmd *Process
	env  []string
}

// startRabbitMQ starts a node and waits until its virtual host accepts logins, which takes about
// five seconds.
func startRabbitMQ(ctx context.Context, o RabbitMQOptions, ports *portBlock) (*RabbitMQ, error) {
	if _, err := os.Stat(rabbitScripts + "rabbitmq-server"); err != nil {
		return nil, ErrNoRabbitMQ
	}
	r := &RabbitMQ{
		Host: "127.0.0.1", VHost: "syncflow", User: "syncflow",
		Password: "syncflow-internal", opt: o,
	}
	var p [4]int
	for i := range p {
		var err error
		if p[i], err = ports.tcp(); err != nil {
			return nil, err
		}
	}
	r.Port = p[0]
	if o.TLS {
		r.TLSPort = p[1]
	}
	if err := r.configure(p[2], p[3]); err != nil {
		return nil, fmt.Errorf("stack: configuring RabbitMQ: %w", err)
	}
	d := o.Dir
	var err error
	// Without a running epmd, the node would start one that outlives it.
	r.epmd, err = StartProcess(ctx, ProcessSpec{
		Name: "epmd", Path: "epmd", Args: []string{
			"-port", fmt.Sprint(p[2]), "-address",
			"127.0.0.1",
		},
		Env: []string{"ERL_EPMD_ADDRESS=127.0.0.1"}, Dir: d, Log: filepath.Join(d, "epmd.log"),
		Ready: func(ctx context.Context) error { return dialTCP(ctx, p[2]) },
	})
	if err != nil {
		return nil, err
	}
	r.Process, err = StartProcess(ctx, ProcessSpec{
		Name: "rabbitmq-server", Path: rabbitScripts + "rabbitmq-server", Env: r.env, Dir: d,
		Log: filepath.Join(d, "rabbitmq.log"), StartTimeout: 90 * time.Second,
		StopTimeout: 30 * time.Second,
		Ready:       r.ready,
	})
	if err != nil {
		_ = r.epmd.Kill()
		return nil, err
	}
	return r, nil
}

func (r *RabbitMQ) configure(epmdPort, distPort int) error {
	o, d := r.opt, r.opt.Dir
	for _, s := range []string{"mnesia", "log", "home", "schema"} {
		if err := os.MkdirAll(filepath.Join(d, s), 0o755); err != nil {
			return err
		}
	}
	conf := []string{
		fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", r.Port),
		"log.console = true", "log.console.level = info", "log.file = false",
		"vm_memory_high_watermark.absolute = 512MB", "disk_free_limit.absolute = 50MB",
		"load_definitions = " + filepath.Join(d, "definitions.json"),
		"auth_backends.1 = internal",
	}
	plugins := "[]."
	if o.TLS {
		if err := writeCertificates(d); err != nil {
			return err
		}
		r.CAFile = filepath.Join(d, "ca.pem")
		conf = append(conf,
			fmt.Sprintf("listeners.ssl.1 = 127.0.0.1:%d", r.TLSPort),
			"ssl_options.cacertfile = "+r.CAFile,
			"ssl_options.certfile = "+filepath.Join(d, "server.pem"), "ssl_options.keyfile = "+
				filepath.Join(d, "server.key"),
			"ssl_options.verify = verify_none", "ssl_options.fail_if_no_peer_cert = false",
			"ssl_options.versions.1 = tlsv1.3", "ssl_options.versions.2 = tlsv1.2")
	}
	if o.AuthURL != "" { // as in SyncFlow's deployments: GET, without a cache
		plugins = "[rabbitmq_auth_backend_http]."
		conf = append(conf, "auth_backends.2 = http", "auth_http.http_method = get",
			"auth_http.user_path = "+o.AuthURL+"/rmq/auth/user", "auth_http.vhost_path = "+
				o.AuthURL+"/rmq/auth/vhost",
			"auth_http.resource_path = "+o.AuthURL+"/rmq/auth/resource", "auth_http.topic_path = "+
				o.AuthURL+"/rmq/auth/topic")
	}
	conf = append(conf, o.ExtraConf...)
	definitions, err := r.definitions()
	if err != nil {
		return err
	}
	r.env = []string{
		// With this variable, the script replaces itself with the Erlang machine instead of
		// supervising it, so the child process is the broker and receives the signals.
		"RUNNING_UNDER_SYSTEMD=true",
		// unique, because every node has its own epmd
		"RABBITMQ_NODENAME=textegress@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", fmt.Sprintf("RABBITMQ_NODE_PORT=%d", r.Port),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", distPort),
		fmt.Sprintf("ERL_EPMD_PORT=%d", epmdPort), "ERL_EPMD_ADDRESS=127.0.0.1",
		// Without the first argument, the distribution listens on all interfaces. The others save
		// processor time.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} " +
			"-start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none",
		"RABBITMQ_MNESIA_BASE=" + d + "/mnesia", "RABBITMQ_LOG_BASE=" + d + "/log",
		"RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + d + "/rabbitmq", "RABBITMQ_CONF_ENV_FILE=" + d + "/none.conf",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + d + "/enabled_plugins",
		"RABBITMQ_GENERATED_CONFIG_DIR=" + d + "/schema",
		"RABBITMQ_PID_FILE=" + d + "/pid", "HOME=" + d + "/home", "LC_ALL=C.UTF-8",
	}
	return errors.Join(
		os.WriteFile(filepath.Join(d, "rabbitmq.conf"), []byte(strings.Join(conf, "\n")+"\n"),
			0o644),
		os.WriteFile(filepath.Join(d, "enabled_plugins"), []byte(plugins+"\n"), 0o644),
		os.WriteFile(filepath.Join(d, "definitions.json"), definitions, 0o600))
}

// definitions returns the definitions of the virtual host and the internal user. RabbitMQ loads
// them at every start, much faster than rabbitmqctl could create them.
func (r *RabbitMQ) definitions() ([]byte, error) {
	salt := []byte{1, 2, 3, 4}
	sum := sha256.Sum256(append(salt[:4:4], r.Password...))
	return json.MarshalIndent(map[string]any{
		"vhosts": []any{map[string]any{"name": r.VHost}},
		"users": []any{map[string]any{
			"name": r.User, "password_hash": base64.StdEncoding.EncodeToString(append(salt[:4:4],
				sum[:]...)),
			"hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "administrator",
		}},
		"permissions": []any{map[string]any{
			"user": r.User, "vhost": r.VHost, "configure": ".*",
			"write": ".*", "read": ".*",
		}},
	}, "", "  ")
}

func (r *RabbitMQ) ready(ctx context.Context) error {
	if err := dialTCP(ctx, r.Port); err != nil {
		return err
	}
	c, err := r.Dial()
	if err != nil {
		return err
	}
	return c.Close()
}

// URL returns the amqp URL of the internal user for the virtual host.
func (r *RabbitMQ) URL() string {
	u := url.URL{
		Scheme: "amqp", User: url.UserPassword(r.User, r.Password),
		Host: fmt.Sprintf("%s:%d", r.Host, r.Port), Path: "/" + r.VHost,
	}
	return u.String()
}

// Dial logs in as the internal user.
func (r *RabbitMQ) Dial() (*amqp.Connection, error) { return r.DialAs(r.User, r.Password) }

// DialAs logs in as any user over the plain listener.
func (r *RabbitMQ) DialAs(user, password string) (*amqp.Connection, error) {
	return amqp.DialConfig(fmt.Sprintf("amqp://%s:%d", r.Host, r.Port), amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}},
		Vhost: r.VHost, Heartbeat: 10 * time.Second, Dial: amqp.DefaultDial(10 * time.Second),
	})
}

// Publish sends messages of any bytes to an exchange as the internal user and waits until the
// broker has confirmed them. It returns an error if the exchange does not exist. It does not check
// that a queue received the messages.
func (r *RabbitMQ) Publish(ctx context.Context, exchange, routingKey string,
	bodies ...[]byte,
) error {
	c, err := r.Dial()
	if err != nil {
		return fmt.Errorf("stack: publishing: %w", err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		return fmt.Errorf("stack: publishing: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("stack: publishing: %w", err)
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	var confirms []*amqp.DeferredConfirmation
	for _, body := range bodies {
		d, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, routingKey, false, false,
			amqp.Publishing{Body: body})
		if err != nil {
			return fmt.Errorf("stack: publishing: %w", err)
		}
		confirms = append(confirms, d)
	}
	for _, d := range confirms {
		select {
		case <-d.Done():
			if !d.Acked() {
				return errors.New("stack: publishing: the broker refused the message")
			}
		case e := <-closed:
			return fmt.Errorf("stack: publishing: %w", e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Ctl runs rabbitmqctl against the node, which takes about a second.
func (r *RabbitMQ) Ctl(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, rabbitScripts+"rabbitmqctl", append([]string{"-q"}, args...)...)
	c.Env, c.Dir = append(os.Environ(), r.env...), r.opt.Dir
	b, err := c.CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("rabbitmqctl %s: %w\n%s", args[0], err, b)
	}
	return string(b), nil
}

// Close stops the node and its epmd.
func (r *RabbitMQ) Close(ctx context.Context) error {
	return errors.Join(r.Stop(ctx), r.epmd.Kill())
}

func dialTCP(ctx context.Context, port int) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return c.Close()
}
