package config

import (
	"regexp"
	"slices"

	"github.com/syncflow/textegress/internal/session"
)

// LiveKit is a LiveKit server and one of its API keys.
type LiveKit struct {
	// URL is the address of the server: ws, wss, http or https, without a slash at the end; "" for
	// a SyncFlow project, which gets it from SyncFlow.
	URL       string
	APIKey    string
	APISecret Secret
}

// defaultName is the name of a project of a LiveKit server that has none.
const defaultName = "livekit"

var serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// liveKitProject reads the identity of a project of a LiveKit server, and what is recorded there.
func (l *loader) liveKitProject(p *Project) {
	i := p.Index
	p.LiveKit = &LiveKit{}
	remedy := "set it to the address of the LiveKit server, for example ws://localhost:7880"
	if !l.topLevel && l.values["LIVEKIT_URL"].text != "" {
		remedy += "; " + topLevelRule
	}
	if f := l.projectField(i, "LIVEKIT__URL"); f.required(remedy) {
		p.LiveKit.URL = f.url("wss://livekit.example.org", "ws", "wss", "http", "https")
	}
	if f := l.projectField(i, "LIVEKIT__API_KEY"); f.required("set it to an API key of the " +
		"LiveKit server") {
		p.LiveKit.APIKey = f.word()
	}
	if f := l.projectField(i, "LIVEKIT__API_SECRET"); f.required("set it to the secret that " +
		"belongs to the API key") {
		p.LiveKit.APISecret = NewSecret(f.word())
	}
	name := l.projectField(i, "NAME")
	if name.text == "" {
		name.text = l.setDefault(name.key, defaultName)
	}
	p.Name = name.match(serverName, "is not a name of a project", "use 1 to 64 letters, digits, "+
		"dots, underscores and hyphens, beginning with a letter or digit")
	if session.CanonicalUUID(p.Name) != "" {
		name.wrong("is a UUID, as the ids of SyncFlow projects are", "choose another name")
	}
	p.ProjectID = p.Name
	p.RecordRooms = slices.Clone(l.rooms)
	if f := l.projectField(i, "RECORD_ROOMS"); f.text != "" {
		p.RecordRooms = f.rooms()
	}
}

// liveKitKey reads the key with which a SyncFlow project creates its own join tokens; nil if there
// is none.
func (l *loader) liveKitKey(i int) *LiveKit {
	key, secret := l.projectField(i, "LIVEKIT__API_KEY"), l.projectField(i, "LIVEKIT__API_SECRET")
	switch {
	case key.text == "" && secret.text == "":
		return nil
	case secret.text == "":
		secret.required("set it too, or remove " + key.key +
			" to join with SyncFlow's tokens alone")
		return nil
	case key.text == "":
		key.required("set it too, or remove " + secret.key +
			" to join with SyncFlow's tokens alone")
		return nil
	}
	return &LiveKit{APIKey: key.word(), APISecret: NewSecret(secret.word())}
}
