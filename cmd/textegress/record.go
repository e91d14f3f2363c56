package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type recordCmd struct {
	dataDirFlag

	Session string `arg:"" name:"session-id" help:"Id of a running session: SyncFlow's, or the sid or name of a room."`
	Project string `placeholder:"ID" help:"Id of its project (LiveKit: its name); needed only if several projects could have the session."`
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
