package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook receives events about the recordings of a project.
type Webhook struct {
	Index int    // the number in PROJECTS__<n>__WEBHOOKS__<m>__…
	URL   string // http or https
	// APIKey and APISecret sign the messages. They are the project's LiveKit key unless the webhook
	// has its own.
	APIKey    string
	APISecret Secret
	// Events are some of egress_started, egress_updated, egress_ended and message, in this order.
	Events []string
	Topics []string // entries of the topics of messages; none: all topics
	// MaxAge is the age at which a message is given up.
	MaxAge time.Duration
}

var webhookEvents = []string{"egress_started", "egress_updated", "egress_ended", "message"}

// webhooks reads the webhooks of a project.
func (l *loader) webhooks(p Project, allowPrivate bool) []Webhook {
	var out []Webhook
	for _, m := range l.numbers().webhooks(p.Index) {
		field := func(rest string) field { return l.field(webhookName(p.Index, m, rest)) }
		w := Webhook{Index: m}
		if f := field("URL"); f.required("set it to the address that receives the events, for " +
			"example https://example.org/hooks/egress") {
			w.URL = f.webhookURL(allowPrivate)
		}
		l.webhookKey(&w, p, field("API_KEY"), field("API_SECRET"))
		w.Events = field("EVENTS").events()
		f := field("TOPICS")
		if w.Topics = f.names(); len(w.Topics) > 0 && len(w.Events) > 0 &&
			!slices.Contains(w.Events, "message") {
			f.wrong("chooses among messages, but none are sent",
				"add message to "+field("EVENTS").key+", or remove "+f.key)
		}
		w.MaxAge = field("MAX_AGE").duration(time.Minute, 365*24*time.Hour)
		out = append(out, w)
	}
	return out
}

// webhookKey sets the key that signs the messages of a webhook.
func (l *loader) webhookKey(w *Webhook, p Project, key, secret field) {
	switch {
	case key.text != "" && secret.text != "":
		w.APIKey, w.APISecret = key.word(), NewSecret(secret.word())
	case key.text != "":
		secret.required("set it too, or remove " + key.key +
			" to sign with the project's LiveKit key")
	case secret.text != "":
		key.required("set it too, or remove " + secret.key +
			" to sign with the project's LiveKit key")
	case p.LiveKit != nil:
		w.APIKey, w.APISecret = p.LiveKit.APIKey, p.LiveKit.APISecret
	case len(l.broken[p.Index]) == 0: // otherwise the key may be missing because of that
		key.required("set it and API_SECRET: messages are signed with them; or set " +
			p.Variable("LIVEKIT__API_KEY") + " and " + p.Variable("LIVEKIT__API_SECRET"))
	}
}

// webhookURL checks the address of a webhook. Problems do not quote it: its path may be a secret.
func (f field) webhookURL(allowPrivate bool) string {
	s := strings.TrimSpace(f.text)
	u, err := url.Parse(s)
	switch {
	case err != nil, !strings.Contains(s, "://"):
		f.wrong("is not a URL", "write it with its scheme, for example https://example.org/hook")
	case u.Scheme != "http" && u.Scheme != "https":
		f.wrong("has the scheme "+clip(u.Scheme), "use http or https")
	case u.Hostname() == "":
		f.wrong("has no host name", "write it like https://example.org/hook")
	case u.User != nil:
		f.wrong("contains a user name", "remove everything up to the @: messages are signed")
	case u.Fragment != "":
		f.wrong("has a fragment", "remove everything from the # on")
	case !validPort(u.Port()):
		f.wrong("has an impossible port", "use a number from 1 to 65535")
	case !allowPrivate && isPrivate(u.Hostname()):
		f.wrong("is a loopback, link-local or private address",
			"set WEBHOOK_ALLOW_PRIVATE to true to allow such addresses, for all webhooks")
	default:
		return s
	}
	return ""
}

// isPrivate reports whether a host is an address that other machines cannot have. It does not use
// the DNS.
func isPrivate(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified()
}

// showHook shows the scheme and the host of a webhook's address. The rest may be a secret.
func showHook(text string) string {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" {
		return mask
	}
	shown := u.Scheme + "://" + u.Host
	if len(u.Path) > 1 || u.RawQuery != "" {
		shown += "/…"
	}
	return shown
}

// events parses a list of event names.
func (f field) events() []string {
	given := splitList(f.text)
	for _, e := range given {
		if !slices.Contains(webhookEvents, strings.ToLower(e)) {
			f.wrong(clip(e)+" is not an event", "use "+strings.Join(webhookEvents, ", "))
			return nil
		}
	}
	return slices.DeleteFunc(slices.Clone(webhookEvents), func(e string) bool {
		return !slices.ContainsFunc(given, func(g string) bool { return strings.EqualFold(g, e) })
	})
}

// hosts parses a list of host names and addresses without ports. It returns them in lower case.
func (f field) hosts() []string {
	if f.text == "" {
		return nil
	}
	var out []string
	for _, h := range splitList(strings.ToLower(f.text)) {
		h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
		switch _, _, err := net.SplitHostPort(h); {
		case net.ParseIP(h) != nil || hostName.MatchString(h):
			out = append(out, h)
		case strings.Contains(h, "/"):
			f.wrong(clip(h)+" is a URL", "write the host name alone, for example example.org")
			return nil
		case err == nil:
			f.wrong(clip(h)+" contains a port", "write the host name alone: any port is allowed")
			return nil
		default:
			f.wrong(clip(h)+" is not a host name", "separate host names with commas")
			return nil
		}
	}
	return out
}

// splitList splits a list without escapes.
func splitList(text string) []string {
	out := strings.Split(text, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}
