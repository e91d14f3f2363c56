package config

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// A setting has one name everywhere, that of its environment variable. In YAML the name is in lower
// case, and nested where the variable has two underscores: PROJECTS__0__S3_CONFIG__REGION is
// projects: [{s3_config: {region: …}}].

// keyKind is how a setting is read and how Settings shows its value.
type keyKind int

const (
	plain  keyKind = iota
	list           // separated by commas; in YAML a list is allowed too
	hook           // a URL whose path may be a secret: only scheme and host are shown
	ident          // the identifier of a secret: the first characters are shown
	secret         // never shown
	inFile         // NAME_FILE: a file with the value of NAME
)

// setting describes one setting, without its value.
type setting struct {
	name string
	kind keyKind
	def  string // "" = no default; also an example in messages
}

// globalKeys are the settings of the whole service, in the order of the documentation.
var globalKeys = []setting{
	{"LIVEKIT_URL", plain, ""},
	{"LIVEKIT_API_KEY", ident, ""},
	{"LIVEKIT_API_KEY_FILE", inFile, ""},
	{"LIVEKIT_API_SECRET", secret, ""},
	{"LIVEKIT_API_SECRET_FILE", inFile, ""},
	{"SYNCFLOW_SERVER_URL", plain, ""},
	{"RABBITMQ_HOST", plain, ""},
	{"RABBITMQ_PORT", plain, ""},
	{"RABBITMQ_VHOST_NAME", plain, ""},
	{"RABBITMQ_TLS", plain, "true"},
	{"RABBITMQ_CA_FILE", plain, ""},
	{"RABBITMQ_USERNAME", plain, ""},
	{"RABBITMQ_PASSWORD", secret, ""},
	{"RABBITMQ_PASSWORD_FILE", inFile, ""},
	{"DEVICE_GROUP_NAME", plain, ""},
	{"RECORD_SESSIONS", plain, "notified"},
	{"RECORD_ROOMS", list, "*"},
	{"POLL_INTERVAL", plain, "1s"},
	{"POLL_INTERVAL_WITH_WEBHOOKS", plain, "15s"},
	{"REJOIN_WINDOW", plain, "10m"},
	{"ROSTER_GRACE", plain, "2m"},
	{"ICE_TRANSPORT", plain, "all"},
	{"INSTANCE", plain, ""},
	{"DATA_DIR", plain, "./textegress-data"},
	{"SYNC_INTERVAL", plain, "200ms"},
	{"SEGMENT_SIZE", plain, "64MiB"},
	{"SEGMENT_AGE", plain, "15m"},
	{"DISK_MIN_FREE", plain, "256MiB"},
	{"RETENTION", plain, "72h"},
	{"SHUTDOWN_TIMEOUT", plain, "60s"},
	{"WEBHOOK_ALLOW_PRIVATE", plain, "false"},
	{"WEBHOOK_HOSTS", list, ""},
	{"HTTP_ADDR", plain, "127.0.0.1:9464"},
	{"HTTP_USERS_FILE", plain, ""},
	{"HTTP_BEARER_TOKEN_FILE", plain, ""},
	{"HTTP_OPERATORS", list, "*"},
	{"HTTP_TLS_CERT_FILE", plain, ""},
	{"HTTP_TLS_KEY_FILE", plain, ""},
	{"HTTP_BEHIND_PROXY", plain, "false"},
	{"PAGE_URL", plain, ""},
	{"LOG_LEVEL", plain, "info"},
	{"LOG_FORMAT", plain, "auto"},
}

// projectKeys are the settings of one project, without the prefix PROJECTS__<n>__. A project of a
// LiveKit server has further defaults, see [loader.project].
var projectKeys = []setting{
	{"NAME", plain, ""},
	{"LIVEKIT__URL", plain, ""},
	{"LIVEKIT__API_KEY", ident, ""},
	{"LIVEKIT__API_KEY_FILE", inFile, ""},
	{"LIVEKIT__API_SECRET", secret, ""},
	{"LIVEKIT__API_SECRET_FILE", inFile, ""},
	{"KEY", ident, ""},
	{"KEY_FILE", inFile, ""},
	{"SECRET", secret, ""},
	{"SECRET_FILE", inFile, ""},
	{"PROJECT_ID", plain, ""},
	{"DIRECTORY", plain, ""},
	{"RECORD_ROOMS", list, ""},
	{"EXCLUDE_BY_ATTRIBUTE", plain, "false"},
	{"TOPICS_ALLOW", list, ""},
	{"TOPICS_DENY", list, ""},
	{"IDENTITIES_ALLOW", list, ""},
	{"IDENTITIES_DENY", list, ""},
	{"ENCRYPTED", plain, "drop"},
	{"PSEUDONYMS", plain, "false"},
	{"LIVE_TEXT", plain, "false"},
	{"ROSTER_FILE", plain, ""},
	{"E2EE_KEY", secret, ""},
	{"E2EE_KEY_FILE", plain, ""},
	{"S3_CONFIG__ACCESS_KEY", ident, ""},
	{"S3_CONFIG__ACCESS_KEY_FILE", inFile, ""},
	{"S3_CONFIG__SECRET_KEY", secret, ""},
	{"S3_CONFIG__SECRET_KEY_FILE", inFile, ""},
	{"S3_CONFIG__ENDPOINT", plain, ""},
	{"S3_CONFIG__BUCKET_NAME", plain, ""},
	{"S3_CONFIG__REGION", plain, ""},
	{"S3_CONFIG__PATH_STYLE", plain, ""},
	{"S3_CONFIG__CHECKSUMS", plain, "on"},
}

// webhookKeys are the settings of one webhook, without the prefix PROJECTS__<n>__WEBHOOKS__<m>__.
var webhookKeys = []setting{
	{"URL", hook, ""},
	{"API_KEY", ident, ""},
	{"API_KEY_FILE", inFile, ""},
	{"API_SECRET", secret, ""},
	{"API_SECRET_FILE", inFile, ""},
	{"EVENTS", list, "egress_started,egress_updated,egress_ended"},
	{"TOPICS", list, ""},
	{"MAX_AGE", plain, "168h"},
}

// The variables that locate the configuration. They are not settings: a YAML file cannot contain
// them.
const (
	keyConfigFile = "TEXTEGRESS_CONFIG_FILE"
	keyConfigBody = "TEXTEGRESS_CONFIG_BODY"
)

const (
	projectPrefix = "PROJECTS__"
	webhookPrefix = "WEBHOOKS__"
	ownPrefix     = "TEXTEGRESS_"
)

// A number has at most four digits, and no leading zero.
var (
	projectKey = regexp.MustCompile(`^PROJECTS__(0|[1-9][0-9]{0,3})__(.+)$`)
	projectAny = regexp.MustCompile(`^PROJECTS__(0|[1-9][0-9]{0,3})(?:__|$)`)
	webhookKey = regexp.MustCompile(`^WEBHOOKS__(0|[1-9][0-9]{0,3})__(.+)$`)
	webhookAny = regexp.MustCompile(`^WEBHOOKS__(0|[1-9][0-9]{0,3})(?:__|$)`)
)

// projectOf returns the project number in a name, for example PROJECTS__3 or PROJECTS__3__SECRETT.
func projectOf(name string) (index int, ok bool) {
	m := projectAny.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	index, _ = strconv.Atoi(m[1])
	return index, true
}

// webhookOf returns the webhook number in a name of a project's setting.
func webhookOf(name string) (index int, ok bool) {
	m := projectKey.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	if m = webhookAny.FindStringSubmatch(m[2]); m == nil {
		return 0, false
	}
	index, _ = strconv.Atoi(m[1])
	return index, true
}

// lookup returns the setting of a variable.
func lookup(name string) (found setting, ok bool) {
	keys, rest := globalKeys, name
	if m := projectKey.FindStringSubmatch(name); m != nil {
		keys, rest = projectKeys, m[2]
		if m := webhookKey.FindStringSubmatch(rest); m != nil {
			keys, rest = webhookKeys, m[2]
		}
	}
	i := slices.IndexFunc(keys, func(k setting) bool { return k.name == rest })
	if i < 0 {
		return setting{}, false
	}
	return setting{name, keys[i].kind, keys[i].def}, true
}

func isKnown(name string) bool {
	_, ok := lookup(name)
	return ok || name == keyConfigFile || name == keyConfigBody
}

// numbers are the numbers of the projects in some settings, and of the webhooks of each project.
// They may have gaps, so that removing one does not rename the others.
type numbers map[int]map[int]bool

// add notes the numbers in names, known or not.
func (n numbers) add(names iter.Seq[string]) {
	for name := range names {
		i, ok := projectOf(name)
		if !ok {
			continue
		}
		n.project(i)
		if m, ok := webhookOf(name); ok {
			n[i][m] = true
		}
	}
}

func (n numbers) project(i int) {
	if n[i] == nil {
		n[i] = map[int]bool{}
	}
}

// projects returns the numbers of the projects, in order.
func (n numbers) projects() []int { return slices.Sorted(maps.Keys(n)) }

// webhooks returns the numbers of a project's webhooks, in order.
func (n numbers) webhooks(project int) []int { return slices.Sorted(maps.Keys(n[project])) }

// all lists the settings of the service, and of the projects and webhooks with the given numbers,
// in the order of the manual.
func all(n numbers) []setting {
	out := slices.Clone(globalKeys)
	for _, i := range n.projects() {
		for _, k := range projectKeys {
			out = append(out, setting{projectName(i, k.name), k.kind, k.def})
		}
		for _, m := range n.webhooks(i) {
			for _, k := range webhookKeys {
				out = append(out, setting{webhookName(i, m, k.name), k.kind, k.def})
			}
		}
	}
	return out
}

func projectName(index int, rest string) string {
	return fmt.Sprintf("%s%d__%s", projectPrefix, index, rest)
}

func webhookName(project, index int, rest string) string {
	return projectName(project, fmt.Sprintf("%s%d__%s", webhookPrefix, index, rest))
}
