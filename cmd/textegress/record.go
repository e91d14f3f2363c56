package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type recordCmd struct {
	dataDirFlag

	Session string `arg:"" name:"session-id" help:"SyncFlow's id of a running session."`
	Project string `placeholder:"ID" help:"SyncFlow's id of its project; needed only if several projects could have the session."`
	JSON    bool   `name:"json" help:"Print JSON: egress_id."`
}

func (c *recordCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	id, err := web.Dial(dir).Record(env.ctx, c.Session, c.Project)
	if err != nil {
		return fmt.Errorf("record session %s: %w", c.Session, err)
	}
	if c.JSON {
		return printJSON(env.stdout, map[string]string{"egress_id": id})
	}
	fmt.Fprintln(env.stdout, escape(id))
	return nil
}
