package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	edlib "github.com/hbollon/go-edlib"
)

// A setting has one name everywhere, that of its environment variable. In YAML the name is in lower
// case, and nested where the variable has two underscores: PROJECTS__0__S3_CONFIG__REGION is
// projects: [{s3_config: {region: …}}].

// keyKind is how Settings shows a value.
type keyKind int

const (
	plain  keyKind = iota
	ident          // the identifier of a secret: the first characters are shown
	secret         // never shown
)

// setting describes one setting, without its value.
type setting struct {
	name string
	kind keyKind
	def  string // "" = no default; also an example in messages
}

// globalKeys are the settings of the whole service, in the order of the documentation.
var globalKeys = []setting{
	{"SYNCFLOW_SERVER_URL", plain, ""},
	{"RABBITMQ_HOST", plain, ""},
	{"RABBITMQ_PORT", plain, ""},
	{"RABBITMQ_VHOST_NAME", plain, ""},
	{"RABBITMQ_TLS", plain, "true"},
	{"RABBITMQ_CA_FILE", plain, ""},
	{"RABBITMQ_USERNAME", plain, ""},
	{"RABBITMQ_PASSWORD", secret, ""},
	{"DEVICE_GROUP_NAME", plain, ""},
	{"RECORD_SESSIONS", plain, "notified"},
	{"REJOIN_WINDOW", plain, "10m"},
	{"ICE_TRANSPORT", plain, "all"},
	{"INSTANCE", plain, ""},
	{"DATA_DIR", plain, "./textegress-data"},
	{"SYNC_INTERVAL", plain, "200ms"},
	{"SEGMENT_SIZE", plain, "64MiB"},
	{"SEGMENT_AGE", plain, "15m"},
	{"DISK_MIN_FREE", plain, "256MiB"},
	{"RETENTION", plain, "72h"},
	{"SHUTDOWN_TIMEOUT", plain, "60s"},
	{"HTTP_ADDR", plain, "127.0.0.1:9464"},
	{"LOG_LEVEL", plain, "info"},
	{"LOG_FORMAT", plain, "auto"},
}

// projectKeys are the settings of one project, without the prefix PROJECTS__<n>__.
var projectKeys = []setting{
	{"KEY", ident, ""},
	{"SECRET", secret, ""},
	{"PROJECT_ID", plain, ""},
	{"LIVEKIT__API_KEY", ident, ""},
	{"LIVEKIT__API_KEY_FILE", plain, ""},
	{"LIVEKIT__API_SECRET", secret, ""},
	{"LIVEKIT__API_SECRET_FILE", plain, ""},
	{"DIRECTORY", plain, ""},
	{"TOPICS_ALLOW", plain, ""},
	{"TOPICS_DENY", plain, ""},
	{"IDENTITIES_ALLOW", plain, ""},
	{"IDENTITIES_DENY", plain, ""},
	{"ENCRYPTED", plain, "drop"},
	{"PSEUDONYMS", plain, "false"},
	{"E2EE_KEY", secret, ""},
	{"E2EE_KEY_FILE", plain, ""},
	{"S3_CONFIG__ACCESS_KEY", ident, ""},
	{"S3_CONFIG__SECRET_KEY", secret, ""},
	{"S3_CONFIG__ENDPOINT", plain, ""},
	{"S3_CONFIG__BUCKET_NAME", plain, ""},
	{"S3_CONFIG__REGION", plain, ""},
	{"S3_CONFIG__PATH_STYLE", plain, ""},
	{"S3_CONFIG__CHECKSUMS", plain, "on"},
}

// The variables that locate the configuration. They are not settings: a YAML file cannot contain
// them.
const (
	keyConfigFile = "TEXTEGRESS_CONFIG_FILE"
	keyConfigBody = "TEXTEGRESS_CONFIG_BODY"
)

const (
	projectPrefix = "PROJECTS__"
	ownPrefix     = "TEXTEGRESS_"
)

var projectKey = regexp.MustCompile(`^PROJECTS__(0|[1-9][0-9]{0,3})__(.+)$`)

var projectAny = regexp.MustCompile(`^PROJECTS__(0|[1-9][0-9]{0,3})(?:__|$)`)

// projectOf returns the project number in a name, for example PROJECTS__3 or PROJECTS__3__SECRETT.
func projectOf(name string) (index int, ok bool) {
	m := projectAny.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	index, _ = strconv.Atoi(m[1]) // at most four digits
	return index, true
}

// lookup returns the setting of a variable. indexed: the name has the form of a project setting.
func lookup(name string) (found setting, indexed, ok bool) {
	keys, rest := globalKeys, name
	if m := projectKey.FindStringSubmatch(name); m != nil {
		keys, rest, indexed = projectKeys, m[2], true
	}
	i := slices.IndexFunc(keys, func(k setting) bool { return k.name == rest })
	if i < 0 {
		return setting{}, indexed, false
	}
	return setting{name, keys[i].kind, keys[i].def}, indexed, true
}

func isKnown(name string) bool {
	_, _, ok := lookup(name)
	return ok || name == keyConfigFile || name == keyConfigBody
}

// all lists the settings of the service and of the given projects, in the order of the manual.
func all(projects []int) []setting {
	out := slices.Clone(globalKeys)
	for _, i := range projects {
		for _, k := range projectKeys {
			out = append(out, setting{projectName(i, k.name), k.kind, k.def})
		}
	}
	return out
}

func projectName(index int, rest string) string {
	return fmt.Sprintf("%s%d__%s", projectPrefix, index, rest)
}

// suggest returns the known setting that name most resembles, or "". name may have any case.
func suggest(name string) string {
	name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if isKnown(name) {
		return name
	}
	// our prefix before a setting without one
	if s, ok := strings.CutPrefix(name, ownPrefix); ok && isKnown(s) {
		return s
	}
	// The settings of a project are candidates if name has an index, even with single underscores:
	// PROJECTS_0_S3_KEY.
	candidates := make([]string, 0, len(globalKeys)+len(projectKeys)+2)
	for _, k := range globalKeys {
		candidates = append(candidates, k.name)
	}
	candidates = append(candidates, keyConfigFile, keyConfigBody)
	if m := regexp.MustCompile(`^[A-Z]*_+([0-9]{1,4})_`).FindStringSubmatch(name); m != nil {
		for _, k := range projectKeys {
			candidates = append(candidates, projectPrefix+m[1]+"__"+k.name)
		}
	}
	best, bestDistance := "", 1+min(2, len(name)/4)
	for _, c := range candidates {
		if d := distance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance returns the number of edits (insert, delete or replace a character, exchange two
// neighbours) between a and b. The exchange is essential: plain Levenshtein distances, such as those
// of agext/levenshtein and lithammer/fuzzysearch, count it twice and find no setting for DTAA_DRI.
func distance(a, b string) int {
	if len(a) > 2*len(b) || len(b) > 2*len(a) {
		return max(len(a), len(b)) // too different; also bounds the work for very long names
	}
	return edlib.OSADamerauLevenshteinDistance(a, b)
}

// quoteNames lists names for a message, sorted, at most ten.
func quoteNames(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	more := ""
	if len(names) > 10 {
		more = fmt.Sprintf(" and %d more", len(names)-10)
		names = names[:10]
	}
	for i, n := range names {
		// a line of a pasted key can look like a name
		if len(n) > 40 {
			names[i] = n[:8] + "…"
		}
	}
	return strings.Join(names, ", ") + more
}
