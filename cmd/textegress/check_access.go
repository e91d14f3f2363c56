package main

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/web/access"
)

// checkAccess reads the files of logins and certificates, and says who can use page and API.
func checkAccess(cfg *config.Config) checkResult {
	f := checkResult{Project: wholeService, Part: "access"}
	h := cfg.HTTP
	var certificates *access.Certificates
	if h.TLSCertFile != "" {
		certificates = access.NewCertificates(h.TLSCertFile, h.TLSKeyFile)
		if err := certificates.Load(); err != nil {
			f.Key, f.Detail = "HTTP_TLS_CERT_FILE, HTTP_TLS_KEY_FILE", err.Error()
			return f
		}
	}
	logins := access.Credentials{
		UsersFile: h.UsersFile, BearerTokenFile: h.BearerTokenFile, Operators: h.Operators,
	}
	users, token, err := access.Check(logins)
	if err != nil {
		f.Key = "HTTP_USERS_FILE, HTTP_BEARER_TOKEN_FILE, HTTP_OPERATORS"
		f.Detail = err.Error()
		return f
	}
	addr, err := net.ResolveTCPAddr("tcp", cfg.HTTPAddr)
	if err != nil {
		f.Key, f.Detail = "HTTP_ADDR", err.Error()
		return f
	}
	doors := access.New(access.Options{
		Certificates: certificates, BehindProxy: h.BehindProxy, PageURL: h.PageURL,
		Logger: slog.New(slog.DiscardHandler),
	})
	defer doors.Close()
	if err := doors.Load(logins); err != nil {
		f.Key, f.Detail = "HTTP_USERS_FILE, HTTP_BEARER_TOKEN_FILE", err.Error()
		return f
	}
	doors.At(addr, cfg.HTTPAddr)
	f.OK = true
	// Whoever wants neither page nor API need not set anything.
	if reason := doors.ClosedReason(); reason != "" {
		f.Detail = "page, API and status are not served. " + reason
		return f
	}
	f.Detail = fmt.Sprintf("page at %s; users: %d", doors.PageURL(), users)
	if token {
		f.Detail += ", and a token"
	}
	if addr.IP.IsLoopback() && !h.BehindProxy {
		f.Detail += "; on this machine, sessions and counts without a login"
	}
	return f
}
