package app

import (
	"context"
	"errors"
	"net/url"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/web/access"
)

// setUpDoors makes the doors in front of the page, the API and the status. What is wrong with their
// files is logged and closes the page, because recording does not depend on it.
func (a *App) setUpDoors(c *config.Config) {
	if c.HTTP.TLSCertFile != "" {
		a.certificates = access.NewCertificates(c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile)
	}
	a.doors = access.New(access.Options{
		Certificates: a.certificates, BehindProxy: c.HTTP.BehindProxy, PageURL: c.HTTP.PageURL,
		Logger: a.log,
	})
	a.onCleanup("end logins", func(context.Context) error { a.doors.Close(); return nil })
	if err := a.loadAccess(c.HTTP); err != nil {
		a.log.Error("page, API and status may be closed", "error", err)
	}
}

// loadAccess reads the files of logins and certificates again. What cannot be used stays as it was.
func (a *App) loadAccess(h config.HTTP) error {
	err := a.doors.Load(access.Credentials{
		UsersFile: h.UsersFile, BearerTokenFile: h.BearerTokenFile, Operators: h.Operators,
	})
	if a.certificates != nil {
		err = errors.Join(err, a.certificates.Load())
	}
	return err
}

// pageHost returns the host of PAGE_URL if a proxy may ask by it, otherwise "".
func pageHost(h config.HTTP) string {
	u, err := url.Parse(h.PageURL)
	if err != nil || !h.BehindProxy {
		return ""
	}
	return u.Hostname()
}
