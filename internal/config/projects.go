package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/syncflow/textegress/internal/session"
)

// projects checks every project, and separates the usable ones from the broken ones.
func (l *loader) projects(c *Config) {
	owner := map[string]int{} // project id in lower case -> number of the first project that has it
	for _, i := range l.numbers().projects() {
		p := l.project(c, i)
		id := strings.ToLower(p.ProjectID)
		if first, dup := owner[id]; dup && id != "" {
			l.duplicate(i, first)
		} else {
			owner[id] = i
		}
		if problems := l.broken[i]; len(problems) > 0 {
			c.Broken = append(c.Broken, BrokenProject{
				Index: i, ProjectID: p.ProjectID,
				Problems: problems,
			})
			continue
		}
		c.Projects = append(c.Projects, p)
	}
}

// duplicate reports that project i has the id of an earlier one.
func (l *loader) duplicate(i, first int) {
	other := fmt.Sprintf("%s%d", projectPrefix, first)
	if l.platform(i) == LiveKitServer {
		l.projectField(i, "NAME").wrong("is the name of "+other+" too, where upper and lower case "+
			"are the same", "give each project of a LiveKit server a name of its own")
		return
	}
	l.projectField(i, "PROJECT_ID").wrong("is the project of "+other+" again",
		"remove one of the two: a project is recorded once")
}

func (l *loader) projectField(index int, rest string) field {
	return l.field(projectName(index, rest))
}

// platform returns the platform of a project, "" if its settings name none.
func (l *loader) platform(i int) Platform {
	var syncFlow, liveKit, empty bool
	for _, k := range projectKeys {
		if !isIdentity(k.name) {
			continue
		}
		name := projectName(i, k.name)
		ofSyncFlow := isSyncFlowIdentity(k.name)
		if _, ok := l.values[name]; ok {
			syncFlow, liveKit = syncFlow || ofSyncFlow, liveKit || !ofSyncFlow
		}
		if _, ok := l.empties[name]; ok {
			empty = empty || ofSyncFlow
		}
	}
	switch {
	case i == 0 && l.topLevel:
		return LiveKitServer
	case syncFlow:
		return SyncFlow
	case liveKit:
		return LiveKitServer
	case empty: // KEY= is meant to be a SyncFlow project
		return SyncFlow
	}
	return ""
}

func (l *loader) project(c *Config, i int) Project {
	p := Project{Index: i, TopLevel: i == 0 && l.topLevel}
	switch l.platform(i) {
	case SyncFlow:
		l.syncFlowProject(&p)
	case LiveKitServer:
		l.liveKitProject(&p)
	default:
		problem := Problem{
			Key: projectName(i, "LIVEKIT__URL"), Wrong: "is missing",
			Remedy: "a project of a LiveKit server needs it, LIVEKIT__API_KEY and " +
				"LIVEKIT__API_SECRET; a SyncFlow project needs KEY, SECRET and PROJECT_ID instead",
		}
		if l.topLevel {
			problem.Remedy += "; LIVEKIT_URL makes project 0, with the settings PROJECTS__0__…"
		}
		l.report(problem)
	}
	p.ExcludeByAttribute = l.projectField(i, "EXCLUDE_BY_ATTRIBUTE").boolean()
	p.Webhooks = l.webhooks(p, c.WebhookAllowPrivate)
	p.Selection = Selection{
		TopicsAllow:     l.projectField(i, "TOPICS_ALLOW").names(),
		TopicsDeny:      l.projectField(i, "TOPICS_DENY").names(),
		IdentitiesAllow: l.projectField(i, "IDENTITIES_ALLOW").names(),
		IdentitiesDeny:  l.projectField(i, "IDENTITIES_DENY").names(),
		KeepEncrypted:   l.projectField(i, "ENCRYPTED").choice("drop", "keep") == "keep",
	}
	p.Pseudonyms = l.projectField(i, "PSEUDONYMS").boolean()
	p.LiveText = l.projectField(i, "LIVE_TEXT").boolean()
	if f := l.projectField(i, "ROSTER_FILE"); f.text != "" {
		p.RosterFile = l.path(strings.TrimSpace(f.text))
	}
	p.E2EEKey = NewSecret(l.projectField(i, "E2EE_KEY").text)
	p.E2EEKeys = l.projectField(i, "E2EE_KEY_FILE").keyFile()
	directory := l.projectField(i, "DIRECTORY")
	s3set := ""
	for _, k := range projectKeys {
		if strings.HasPrefix(k.name, "S3_CONFIG__") && s3set == "" {
			if _, ok := l.values[projectName(i, k.name)]; ok {
				s3set = projectName(i, k.name)
			}
		}
	}
	switch {
	case directory.text != "" && s3set != "":
		directory.wrong("is set together with "+s3set,
			"a project is delivered to one place: remove DIRECTORY or the whole S3_CONFIG")
	case directory.text == "" && s3set == "" && l.platform(i) == LiveKitServer:
		p.Directory = l.path(l.setDefault(directory.key, "./recordings"))
	case directory.text != "":
		p.Directory = l.path(strings.TrimSpace(directory.text))
	default:
		p.S3 = l.s3(i)
	}
	if p.Directory != "" && holdsState(c.DataDir, p.Directory) {
		directory.wrong("is where the service keeps its own files (DATA_DIR)",
			"set a directory outside of it")
	}
	return p
}

// stateFolders are the folders below DATA_DIR that the service uses for itself.
var stateFolders = []string{".", "recordings", "pseudonyms", "listening", "webhooks"}

// holdsState reports whether directory is DATA_DIR itself or in one of those folders.
func holdsState(dataDir, directory string) bool {
	data, err := filepath.Abs(dataDir)
	target, targetErr := filepath.Abs(directory)
	if err != nil || targetErr != nil {
		return false
	}
	rel, err := filepath.Rel(data, target)
	first, _, _ := strings.Cut(rel, string(filepath.Separator))
	return err == nil && slices.Contains(stateFolders, first)
}

// setDefault sets a default that only some projects have, and returns it.
func (l *loader) setDefault(name, text string) string {
	l.values[name] = value{text, "default"}
	return text
}

// syncFlowProject reads the identity of a SyncFlow project.
func (l *loader) syncFlowProject(p *Project) {
	i := p.Index
	url := l.projectField(i, "LIVEKIT__URL")
	if url.text != "" {
		set := slices.IndexFunc(projectKeys, func(k setting) bool {
			_, ok := l.values[projectName(i, k.name)]
			return ok && isSyncFlowIdentity(k.name)
		})
		url.wrong("is set together with "+projectName(i, projectKeys[set].name),
			"a SyncFlow project gets this address from SyncFlow: remove it; or, to record the "+
				"LiveKit server without SyncFlow, remove KEY, SECRET and PROJECT_ID")
		return
	}
	if f := l.projectField(i, "KEY"); f.required("copy the API key of the project from the " +
		"SyncFlow dashboard") {
		p.Key = f.word()
	}
	if f := l.projectField(i, "SECRET"); f.required("copy the API secret that belongs to the key; " +
		"SyncFlow shows it only once, make a new key if it is lost") {
		p.Secret = NewSecret(f.word())
	}
	if f := l.projectField(i, "PROJECT_ID"); f.required("copy the project's id, a UUID, from the " +
		"SyncFlow dashboard") {
		p.ProjectID = f.uuid()
	}
	p.LiveKit = l.liveKitKey(i)
	if f := l.projectField(i, "NAME"); f.text != "" {
		l.warn(f.key + " has no effect: the name of a SyncFlow project comes from SyncFlow.")
	}
	// Ignoring it could mean recording what must not be recorded.
	if f := l.projectField(i, "RECORD_ROOMS"); f.text != "" {
		f.wrong("is set for a SyncFlow project", "remove it: RECORD_SESSIONS selects the sessions "+
			"of SyncFlow projects")
	}
}

func (l *loader) s3(i int) *S3 {
	s := &S3{}
	if f := l.projectField(i, "S3_CONFIG__ACCESS_KEY"); f.required("set the access key of the " +
		"bucket, or deliver to a folder with " + projectName(i, "DIRECTORY")) {
		s.AccessKey = f.word()
	}
	if f := l.projectField(i, "S3_CONFIG__SECRET_KEY"); f.required("set the secret that belongs to " +
		"the access key") {
		s.SecretKey = NewSecret(f.word())
	}
	if f := l.projectField(i, "S3_CONFIG__ENDPOINT"); f.required("set the address of the store, for " +
		"example https://s3.us-east-1.amazonaws.com") {
		// The predecessor accepts a bare host name and uses https.
		if !strings.Contains(f.text, "://") {
			f.text = "https://" + strings.TrimSpace(f.text)
		}
		s.Endpoint = f.url("https://s3.us-east-1.amazonaws.com", "http", "https")
	}
	if f := l.projectField(i, "S3_CONFIG__BUCKET_NAME"); f.required("set the name of an " +
		"existing bucket") {
		s.Bucket = f.match(bucketName, "is not a bucket name",
			"write the name alone, without s3:// and without a folder")
	}
	if f := l.projectField(i, "S3_CONFIG__REGION"); f.required("set the region of the bucket; " +
		"us-east-1 suits most stores that have none") {
		s.Region = f.match(regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`), "is not a region",
			"write its name alone, for example us-east-1")
	}
	if f := l.projectField(i, "S3_CONFIG__PATH_STYLE"); f.text != "" {
		s.PathStyle = new(f.boolean())
	}
	s.Checksums = l.projectField(i, "S3_CONFIG__CHECKSUMS").boolean()
	return s
}

// keyFile returns the content of a file of keys. An unreadable file is only a warning and does not
// prevent recording: encrypted data is kept as it is and can be decrypted later.
func (f field) keyFile() Secret {
	if f.text == "" {
		return Secret{}
	}
	data, err := os.ReadFile(filepath.Clean(f.l.path(strings.TrimSpace(f.text))))
	switch {
	case err != nil:
		f.l.warnings = append(f.l.warnings, f.key+" cannot be read: "+plainError(err)+
			". Encrypted packets are delivered as they are.")
	case len(data) > maxKeyFile:
		f.l.warnings = append(f.l.warnings,
			fmt.Sprintf("%s has more than %d bytes: it is no file of keys. Encrypted packets are "+
				"delivered as they are.", f.key, maxKeyFile))
	default:
		return NewSecret(string(data))
	}
	return Secret{}
}

// word checks a key or a secret. It never quotes the value.
func (f field) word() string {
	if strings.TrimSpace(f.text) != f.text {
		f.wrong("begins or ends with white space", "copy it again, without the white space")
		return ""
	}
	for _, r := range f.text {
		if r <= ' ' || r == 0x7f || r > 0x7e {
			f.wrong("contains white space or a character that is not ASCII", "copy it again")
			return ""
		}
	}
	return f.text
}

// uuid returns the canonical form, because SyncFlow compares ids in routing keys as text.
func (f field) uuid() string {
	id := session.CanonicalUUID(f.text)
	if id == "" {
		f.wrong("is not a UUID",
			"copy the project's id, for example 0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11")
	}
	return id
}
