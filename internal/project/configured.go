package project

import (
	"fmt"
	"log/slog"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Configured holds the projects of the settings, for commands that run without the service. It
// implements delivery.Projects.
type Configured struct {
	Projects []config.Project
	Names    *pseudonym.Store
	Logger   *slog.Logger
}

// Bucket returns the bucket to which the recordings of a project are delivered.
func (c Configured) Bucket(projectID string) (objstore.Bucket, error) {
	if p, ok := c.find(projectID); ok {
		return Bucket(p)
	}
	return nil, fmt.Errorf("project %s is not in the configuration, so there is no access to its "+
		"bucket", projectID)
}

// Keys returns the keys that decrypt the recordings of a project; nil if there are none.
func (c Configured) Keys(projectID string) *render.Keys {
	p, ok := c.find(projectID)
	if !ok {
		return nil
	}
	keys, err := Keys(p)
	if err != nil {
		c.Logger.Error("the key of a project is invalid; its encrypted packets are delivered as "+
			"they are", "project", p.Index, "error", err)
	}
	return keys
}

// Pseudonyms returns the pseudonyms under which a recording is delivered.
func (c Configured) Pseudonyms(info spool.Info) (redact.Pseudonyms, error) {
	return Pseudonyms(c.Names, info)
}

func (c Configured) find(projectID string) (config.Project, bool) {
	for _, p := range c.Projects {
		if p.ProjectID == projectID {
			return p, true
		}
	}
	return config.Project{}, false
}
