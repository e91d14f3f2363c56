package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/syncflow/textegress/internal/session"
)

// projects checks every project, and separates the usable ones from the broken ones.
func (l *loader) projects(c *Config) {
	owner := map[string]int{} // project id -> number of the first project that has it
	for _, i := range l.indices() {
		p := l.project(i)
		if first, dup := owner[p.ProjectID]; dup && p.ProjectID != "" {
			l.projectField(i, "PROJECT_ID").wrong("is the project of "+
				fmt.Sprintf("%s%d", projectPrefix, first)+" again",
				"remove one of the two: a project is recorded once")
		} else {
			owner[p.ProjectID] = i
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

func (l *loader) projectField(index int, rest string) field {
	return l.field(projectName(index, rest))
}

func (l *loader) project(i int) Project {
	p := Project{Index: i}
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
	p.LiveKit = l.liveKit(i)
	p.Selection = Selection{
		TopicsAllow:     l.projectField(i, "TOPICS_ALLOW").names(),
		TopicsDeny:      l.projectField(i, "TOPICS_DENY").names(),
		IdentitiesAllow: l.projectField(i, "IDENTITIES_ALLOW").names(),
		IdentitiesDeny:  l.projectField(i, "IDENTITIES_DENY").names(),
		KeepEncrypted:   l.projectField(i, "ENCRYPTED").choice("drop", "keep") == "keep",
	}
	p.Pseudonyms = l.projectField(i, "PSEUDONYMS").boolean()
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
	case directory.text != "":
		p.Directory = l.path(strings.TrimSpace(directory.text))
	default:
		p.S3 = l.s3(i)
	}
	return p
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
		s.Endpoint = f.url("https://s3.us-east-1.amazonaws.com")
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

// maxKeyFile bounds the size of a file of keys.
const maxKeyFile = 64 << 10

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
