package config

import (
	"net/url"
	"strings"
)

// HTTP are the settings of who may see and do what over HTTP. The files are read, and checked, by
// the service: one that cannot be used closes the page, and must not stop a recording.
type HTTP struct {
	UsersFile       string   // name:hash, as htpasswd -B writes it; "" = no users
	BearerTokenFile string   // for programs; "" = none
	Operators       []string // users who may act, "token" for the bearer token; "*" = everybody
	// The certificate and its key, in PEM form; both are set, or none.
	TLSCertFile, TLSKeyFile string
	BehindProxy             bool   // a proxy with TLS passes on all requests
	PageURL                 string // scheme and host for people; "" = those of HTTPAddr
}

// http checks the settings of [HTTP].
func (l *loader) http(h *HTTP) {
	h.UsersFile = l.field("HTTP_USERS_FILE").file()
	h.BearerTokenFile = l.field("HTTP_BEARER_TOKEN_FILE").file()
	h.Operators = splitList(l.field("HTTP_OPERATORS").text)
	cert, key := l.field("HTTP_TLS_CERT_FILE"), l.field("HTTP_TLS_KEY_FILE")
	h.TLSCertFile, h.TLSKeyFile = cert.file(), key.file()
	switch {
	case h.TLSCertFile != "" && h.TLSKeyFile == "":
		key.required("set it too: the private key of the certificate, in PEM form")
	case h.TLSCertFile == "" && h.TLSKeyFile != "":
		cert.required("set it too: the certificate with its chain, in PEM form")
	}
	h.BehindProxy = l.field("HTTP_BEHIND_PROXY").boolean()
	if f := l.field("PAGE_URL"); f.text != "" {
		const example = "https://egress.example.org"
		h.PageURL = f.url(example, "http", "https")
		if u, err := url.Parse(h.PageURL); err == nil && u.Path != "" {
			f.wrong("has a path", "the page needs a host name of its own, for example "+example)
		}
	}
}

// file returns the path of a file that the service reads, "" if the setting is not set.
func (f field) file() string {
	if path := strings.TrimSpace(f.text); path != "" {
		return f.l.path(path)
	}
	return ""
}
