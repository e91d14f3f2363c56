package stack

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	amqp "github.com/rabbitmq/amqp091-go"
)

func TestOnlyLoopback(t *testing.T) {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // no IPv6
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != "0A" { // listening
				continue
			}
			addr, hex, _ := strings.Cut(f[1], ":")
			var port int
			fmt.Sscanf(hex, "%x", &port)
			first := shared.ports.first
			loopback := addr == "0100007F" || addr == "00000000000000000000000001000000" ||
				addr == "0000000000000000FFFF00000100007F"
			if port >= first && port < first+portsPerBlock && !loopback {
				t.Errorf("port %d listens on %s", port, addr)
			}
		}
	}
}

func TestS3ChecksSignaturesAndKeepsObjects(t *testing.T) {
	ctx, srv := t.Context(), shared.S3
	bucket := shared.SyncFlow.Projects[0].Bucket
	put := func(c *s3.Client) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: aws.String("a/b c.txt"),
			Body: bytes.NewReader([]byte("text")),
		})
		return err
	}
	var refused smithy.APIError
	if err := put(srv.ClientAs(srv.AccessKey, "wrong")); !errors.As(err, &refused) ||
		refused.ErrorCode() != "SignatureDoesNotMatch" {
		t.Errorf("wrong secret: %v", err)
	}
	if err := put(srv.Client()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(srv.BucketDir(bucket), "a", "b c.txt")); err != nil ||
		string(b) != "text" {
		t.Errorf("plain file: %q, %v", b, err)
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := srv.Client().GetObject(ctx,
		&s3.GetObjectInput{Bucket: &bucket, Key: aws.String("a/b c.txt")})
	if err != nil {
		t.Fatalf("after kill and restart: %v", err)
	}
	defer out.Body.Close()
	if b, err := io.ReadAll(out.Body); err != nil || string(b) != "text" {
		t.Errorf("after kill and restart: %q, %v", b, err)
	}
	if keys, err := srv.Keys(ctx, bucket, "a/"); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
}

func TestLiveKitVersionsAndRestart(t *testing.T) {
	for _, version := range []string{"1.13.5", "1.11.0"} {
		t.Run(version, func(t *testing.T) {
			ctx := t.Context()
			l, err := StartLiveKit(ctx,
				LiveKitOptions{Version: version, SingleUDPPort: version == "1.11.0"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if _, err := l.CreateRoom(ctx, "class"); err != nil {
				t.Fatal(err)
			}
			if r, err := l.Room(ctx, "class"); err != nil || r == nil {
				t.Fatalf("room %v, %v", r, err)
			}
			if err := l.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := l.Start(ctx); err != nil {
				t.Fatal(err)
			}
			if r, err := l.Room(ctx, "class"); err != nil || r != nil {
				t.Errorf("the room survived: %v, %v", r, err)
			}
			if !strings.Contains(l.LogTail(5000), `"version": "`+version+`"`) {
				t.Errorf("it is not version %s:\n%s", version, l.LogTail(1000))
			}
			if err := l.Restart(ctx); err != nil {
				t.Errorf("orderly restart: %v", err)
			}
		})
	}
}

// TestBrokerLogin has a project token accepted and refused by the broker, which asks the API, and a
// message arrive.
func TestBrokerLogin(t *testing.T) {
	ctx, api, mq := t.Context(), shared.SyncFlow, shared.RabbitMQ
	p, other := api.Projects[0], api.Projects[1]
	dev, err := api.RegisterDevice(ctx, p, "recorder", "broker-login")
	if err != nil {
		t.Fatal(err)
	}
	token, _ := p.Token(nil)
	expired := p.Claims()
	expired["exp"] = time.Now().Add(-time.Minute).Unix()
	old, _ := p.Token(expired)
	var wg sync.WaitGroup
	for name, user := range map[string]string{
		"expired": old, "no token": "guest",
		"altered": token[:len(token)-3] + "AAA",
	} {
		wg.Go(func() { // at once: the broker lets a refused client wait for three seconds
			if c, err := mq.DialAs(user, "broker-login"); err == nil {
				c.Close()
				t.Errorf("%s: logged in", name)
			} else if e := (*amqp.Error)(nil); !errors.As(err, &e) || e.Code != amqp.AccessRefused {
				t.Errorf("%s: %v, want 403", name, err)
			}
		})
	}
	defer wg.Wait()
	conn, err := mq.DialAs(token, "broker-login")
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	defer conn.Close()
	bind := func(key, exchange string) error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		defer ch.Close()
		q, err := ch.QueueDeclare("broker-login", true, false, false, false, nil)
		if err != nil {
			return err
		}
		return ch.QueueBind(q.Name, key, exchange, false, nil)
	}
	code := func(err error) int {
		if e, ok := errors.AsType[*amqp.Error](err); ok {
			return e.Code
		}
		return 0
	}
	for key, want := range map[string]int{
		dev.BindingKey: 0, p.ID + ".unregistered": amqp.AccessRefused,
		p.ID + ".*":                amqp.AccessRefused,
		other.ID + ".broker-login": amqp.AccessRefused,
	} {
		if err := bind(key, Exchange); code(err) != want {
			t.Errorf("binding %s: %v, want code %d", key, err, want)
		}
	}
	if err := bind("x", "no-such-exchange"); code(err) != amqp.NotFound {
		t.Errorf("binding to a missing exchange: %v, want 404", err)
	}
	x, err := api.CreateSession(ctx, p, "broker-login", "broker-login", "broker-login")
	if err != nil {
		t.Fatal(err)
	}
	defer api.StopSession(ctx, p, x.ID)
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := ch.Consume("broker-login", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // a group named twice is announced twice
		select {
		case m := <-msgs:
			if string(m.Body) != string(Announcement(x.ID, "broker-login")) ||
				m.ContentType != "" || m.MessageId != "" || m.DeliveryMode == amqp.Persistent {
				t.Errorf("announcement %d: %q %+v", i, m.Body, m)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("announcement %d did not come", i)
		}
	}
	if err := api.Announce(ctx, p, "broker-login", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if m := <-msgs; string(m.Body) != "{" {
		t.Errorf("malformed announcement: %q", m.Body)
	}
}

func TestBrokerTLS(t *testing.T) {
	pem, err := os.ReadFile(shared.RabbitMQ.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	d := &net.Dialer{Timeout: 10 * time.Second}
	for name, cfg := range map[string]*tls.Config{
		"with the authority": {RootCAs: roots},
		"without":            {},
	} {
		c, err := tls.DialWithDialer(d, "tcp", fmt.Sprintf("%s:%d", shared.RabbitMQ.Host,
			shared.RabbitMQ.TLSPort), cfg)
		if err == nil {
			c.Close()
		}
		if (err == nil) != (cfg.RootCAs != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBrokerRestart loses the exchange, keeps durable queues, and leaves the API deaf until it is
// told or restarted.
func TestBrokerRestart(t *testing.T) {
	ctx, api, mq, p := t.Context(), shared.SyncFlow, shared.RabbitMQ, shared.SyncFlow.Projects[0]
	if _, err := api.RegisterDevice(ctx, p, "recorder", "restart"); err != nil {
		t.Fatal(err)
	}
	if err := mq.Kill(); err != nil {
		t.Fatal(err)
	}
	var e *APIError
	if _, err := api.RegisterDevice(ctx, p, "while-down", "restart"); !errors.As(err, &e) ||
		e.Status != 500 {
		t.Errorf("register while the broker is down: %v, want 500", err)
	}
	list, err := api.Devices(ctx, p)
	if err != nil || !hasDevice(list, "while-down") {
		t.Errorf("the row of the failed registration is missing: %v, %v", list, err)
	}
	if err := mq.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateSession(ctx, p, "deaf", "restart"); !errors.As(err, &e) ||
		e.Status != 500 {
		t.Errorf("create-session after the broker's restart: %v, want 500", err)
	}
	if r, err := shared.LiveKit.Room(ctx, "deaf"); err != nil || r == nil {
		t.Errorf("the room of the failed session: %v, %v", r, err)
	}
	if err := mq.Publish(ctx, Exchange, "x", []byte{}); err == nil {
		t.Error("the exchange survived the broker's restart")
	}
	if err := api.Redeclare(ctx); err != nil {
		t.Fatal(err)
	}
	x, err := api.CreateSession(ctx, p, "heard", "restart")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.StopSession(ctx, p, x.ID); err != nil {
		t.Error(err)
	}
}

func hasDevice(list []Device, name string) bool {
	for _, d := range list {
		if d.Name == name {
			return true
		}
	}
	return false
}
