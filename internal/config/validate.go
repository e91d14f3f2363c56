package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	groupName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,50}$`)
	instanceName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	hostName     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)
	bucketName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}$`)
)

// Values that are fixed in the predecessor.
const (
	predecessorGroup = "text-egress"
	predecessorVHost = "syncflow"
)

// Bounds of DISK_MIN_FREE.
const minDiskMinFree, maxDiskMinFree = 1 << 20, 16 << 40

// service checks the settings of the whole service that do not depend on the platform.
func (l *loader) service(c *Config) {
	c.RecordSessions = RecordSessions(l.field("RECORD_SESSIONS").choice("notified", "all"))
	l.rooms = l.field("RECORD_ROOMS").rooms()
	c.PollInterval = l.field("POLL_INTERVAL").duration(100*time.Millisecond, time.Hour)
	c.PollIntervalWithWebhooks = l.field("POLL_INTERVAL_WITH_WEBHOOKS").duration(
		100*time.Millisecond, time.Hour)
	c.RejoinWindow = l.field("REJOIN_WINDOW").duration(0, 24*time.Hour)
	c.RosterGrace = l.field("ROSTER_GRACE").duration(0, 24*time.Hour)
	c.RelayOnly = l.field("ICE_TRANSPORT").choice("all", "relay") == "relay"
	if f := l.field("INSTANCE"); f.text != "" {
		c.Instance = f.match(instanceName, "is not an instance name",
			"use 1 to 64 letters, digits, _ and -")
	}
	c.DataDir = l.path(strings.TrimSpace(l.field("DATA_DIR").text))
	c.SyncInterval = l.field("SYNC_INTERVAL").duration(10*time.Millisecond, time.Hour)
	c.SegmentSize = l.field("SEGMENT_SIZE").bytes(64<<10, 1<<30)
	c.SegmentAge = l.field("SEGMENT_AGE").duration(time.Second, 24*time.Hour)
	c.DiskMinFree = l.field("DISK_MIN_FREE").bytes(minDiskMinFree, maxDiskMinFree)
	c.Retention = l.field("RETENTION").duration(0, 10*365*24*time.Hour)
	c.ShutdownTimeout = l.field("SHUTDOWN_TIMEOUT").duration(time.Second, time.Hour)
	c.WebhookAllowPrivate = l.field("WEBHOOK_ALLOW_PRIVATE").boolean()
	c.WebhookHosts = l.field("WEBHOOK_HOSTS").hosts()
	c.HTTPAddr = l.field("HTTP_ADDR").address()
	l.http(&c.HTTP)
	c.LogLevel = l.field("LOG_LEVEL").level()
	c.LogFormat = l.field("LOG_FORMAT").choice("auto", "text", "json")
}

// syncFlowKeys are the settings of the whole service that SyncFlow projects require.
var syncFlowKeys = []string{
	"SYNCFLOW_SERVER_URL", "RABBITMQ_HOST", "RABBITMQ_PORT", "RABBITMQ_VHOST_NAME",
	"DEVICE_GROUP_NAME",
}

// syncFlow checks the settings of SyncFlow and its broker. Without a SyncFlow project their
// problems are ignored: the variables may belong to another program.
func (l *loader) syncFlow(c *Config) {
	needed, liveKit := false, false
	for _, i := range l.numbers().projects() {
		needed = needed || l.platform(i) == SyncFlow
		liveKit = liveKit || l.platform(i) == LiveKitServer
	}
	for _, name := range syncFlowKeys {
		if _, set := l.values[name]; set && !liveKit {
			needed = true // the project is what is missing
		}
	}
	problems, warnings := l.problems, l.warnings
	l.syncFlowServer(c)
	l.rabbitMQ(&c.RabbitMQ)
	if !needed {
		if len(l.problems) > len(problems) {
			c.ServerURL, c.RabbitMQ, c.DeviceGroup = "", RabbitMQ{}, ""
		}
		l.problems, l.warnings = problems, warnings
	}
	if _, set := l.values["RECORD_ROOMS"]; set && needed && !liveKit {
		l.warn("RECORD_ROOMS has no effect: it is for projects of a LiveKit server, and " +
			"RECORD_SESSIONS selects the sessions of SyncFlow projects.")
	}
}

// syncFlowServer checks the settings of SyncFlow.
func (l *loader) syncFlowServer(c *Config) {
	if f := l.field("SYNCFLOW_SERVER_URL"); f.required("set it to the address of the SyncFlow " +
		"API, for example https://api.syncflow.live") {
		c.ServerURL = f.url("https://api.syncflow.live", "http", "https")
	}
	if f := l.field("DEVICE_GROUP_NAME"); f.required("set it to the device group that sessions " +
		"name, usually text-egress") {
		c.DeviceGroup = f.match(groupName, "is not a device group",
			"use 1 to 50 letters, digits, _ and -; dots and commas have a meaning in SyncFlow")
		if c.DeviceGroup != "" && c.DeviceGroup != predecessorGroup {
			l.warnings = append(l.warnings,
				fmt.Sprintf("DEVICE_GROUP_NAME is %s. The predecessor ignored this key and "+
					"always used %s: "+
					"sessions that are created for %s alone will not be announced.",
					clip(c.DeviceGroup), predecessorGroup, predecessorGroup))
		}
	}
}

func (l *loader) rabbitMQ(r *RabbitMQ) {
	if f := l.field("RABBITMQ_HOST"); f.required("set it to the host name of the broker") {
		r.Host = f.host()
	}
	if f := l.field("RABBITMQ_PORT"); f.required("set it to the broker's AMQP port, usually " +
		"5671 with TLS and 5672 without") {
		n, err := strconv.Atoi(strings.TrimSpace(f.text))
		if err != nil || n < 1 || n > 65535 {
			f.wrong(clip(f.text)+" is not a port", "use a number from 1 to 65535")
		}
		r.Port = n
	}
	if f := l.field("RABBITMQ_VHOST_NAME"); f.required("set it to the virtual host of SyncFlow, " +
		"usually syncflow") {
		r.VHost = strings.TrimSpace(f.text)
		if len(r.VHost) > 255 {
			f.wrong("is longer than 255 bytes", "use the name that the broker knows")
		}
		if r.VHost != predecessorVHost {
			l.warnings = append(l.warnings,
				fmt.Sprintf("RABBITMQ_VHOST_NAME is %s. The predecessor ignored this key and "+
					"always used %s: "+
					"if the login is refused, try that.", clip(r.VHost), predecessorVHost))
		}
	}
	r.TLS = l.field("RABBITMQ_TLS").boolean()
	if f := l.field("RABBITMQ_CA_FILE"); f.text != "" {
		r.CAFile = f.certificates()
		if !r.TLS {
			l.warnings = append(l.warnings,
				"RABBITMQ_CA_FILE has no effect while RABBITMQ_TLS is false.")
		}
	}
	user, pass := l.field("RABBITMQ_USERNAME"), l.field("RABBITMQ_PASSWORD")
	r.Username = strings.TrimSpace(user.text)
	r.Password = NewSecret(pass.text)
	switch {
	case user.text != "" && pass.text == "":
		pass.required("set it too, or remove RABBITMQ_USERNAME to log in with the project's token")
	case user.text == "" && pass.text != "":
		user.required("set it too, or remove RABBITMQ_PASSWORD to log in with the project's token")
	case len(user.text) > 255:
		user.wrong("is longer than 255 bytes", "use the name that the broker knows")
	}
}

func (f field) choice(of ...string) string {
	s := strings.ToLower(strings.TrimSpace(f.text))
	if slices.Contains(of, s) {
		return s
	}
	f.wrong(clip(f.text)+" is not possible", "use "+orList(of))
	return ""
}

// orList writes "a, b or c".
func orList(of []string) string {
	return strings.Join(of[:len(of)-1], ", ") + " or " + of[len(of)-1]
}

func (f field) boolean() bool {
	switch strings.ToLower(strings.TrimSpace(f.text)) {
	case "true", "on", "yes", "1":
		return true
	case "false", "off", "no", "0":
		return false
	}
	f.wrong(clip(f.text)+" is neither true nor false", "use true or false")
	return false
}

func (f field) duration(least, most time.Duration) time.Duration {
	s := strings.TrimSpace(f.text)
	d, err := time.ParseDuration(s)
	if err != nil {
		f.wrong(clip(f.text)+" is not a duration",
			"use a number with a unit: ms, s, m or h, for example "+f.def)
		return 0
	}
	if d < least || d > most {
		f.wrong(clip(f.text)+" is out of range", fmt.Sprintf("use %v to %v", least, most))
	}
	return d
}

func (f field) match(re *regexp.Regexp, wrong, remedy string) string {
	s := strings.TrimSpace(f.text)
	if !re.MatchString(s) {
		f.wrong(wrong, remedy) // not quoted: it may be a secret in the wrong line
		return ""
	}
	return s
}

// url checks an address with one of the schemes and removes trailing slashes. Problems quote at
// most the scheme, because the address may contain a password.
func (f field) url(example string, schemes ...string) string {
	s := strings.TrimSpace(f.text)
	u, err := url.Parse(s)
	switch {
	case err != nil, !strings.Contains(s, "://"):
		f.wrong("is not a URL", "write it with its scheme, for example "+example)
	case !slices.Contains(schemes, u.Scheme):
		f.wrong("has the scheme "+clip(u.Scheme), "use "+orList(schemes)+", for example "+example)
	case u.Hostname() == "":
		f.wrong("has no host name", "write it like "+example)
	case u.User != nil:
		f.wrong("contains a user name", "remove everything up to the @")
	case u.RawQuery != "" || u.Fragment != "":
		f.wrong("has a query or a fragment", "remove everything from the ? or # on")
	case !validPort(u.Port()):
		f.wrong("has an impossible port", "use a number from 1 to 65535")
	default:
		return strings.TrimRight(s, "/")
	}
	return ""
}

func validPort(p string) bool {
	if p == "" {
		return true
	}
	n, err := strconv.Atoi(p)
	return err == nil && n >= 1 && n <= 65535
}

func (f field) host() string {
	s := strings.TrimSpace(f.text)
	if net.ParseIP(strings.Trim(s, "[]")) != nil {
		return strings.Trim(s, "[]")
	}
	switch {
	case strings.Contains(s, "://") || strings.Contains(s, "/"):
		f.wrong("is a URL", "write the host name alone; the port goes into RABBITMQ_PORT, the "+
			"virtual host into RABBITMQ_VHOST_NAME")
	case strings.Contains(s, "@"):
		f.wrong("contains a user name", "write the host name alone; RABBITMQ_USERNAME and "+
			"RABBITMQ_PASSWORD are settings of their own")
	case strings.Contains(s, ":"):
		f.wrong(clip(s)+" contains a port",
			"write the host name alone; the port goes into RABBITMQ_PORT")
	case !hostName.MatchString(s):
		f.wrong(clip(s)+" is not a host name", "use letters, digits, dots and hyphens")
	default:
		return s
	}
	return ""
}

func (f field) address() string {
	s := strings.TrimSpace(f.text)
	_, port, err := net.SplitHostPort(s)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		f.wrong(clip(s)+" is not an address to listen at", "write host:port, for example "+
			f.def+"; port 0 takes a free one")
		return ""
	}
	return s
}

func (f field) level() slog.Level {
	switch strings.ToLower(strings.TrimSpace(f.text)) {
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warn", "warning":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	f.wrong(clip(f.text)+" is not a log level", "use debug, info, warn or error")
	return slog.LevelInfo
}

// certificates checks that a file contains certificates in PEM form, and returns its path.
func (f field) certificates() string {
	path := f.l.path(strings.TrimSpace(f.text))
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		f.wrong("cannot be read: "+plainError(err), "correct the path or make the file readable")
		return ""
	}
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			f.wrong("has a certificate that cannot be read",
				"get the file again from the operator of the broker")
			return ""
		}
		found++
	}
	if found == 0 {
		f.wrong("has no certificate in PEM form", "it must contain -----BEGIN CERTIFICATE-----; "+
			"convert DER with openssl x509 -inform der")
		return ""
	}
	return path
}
