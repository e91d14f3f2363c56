package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type recordCmd struct {
	dataDirFlag

	Session string `arg:"" name:"session-id" help:"SyncFlow's id of a session that runs."`
	Project string `placeholder:"ID" help:"SyncFlow's id of its project; needed only where several projects could know the session."`
	JSON    bool   `name:"json" help:"Answer as JSON: egress_id."`
}

func (c *recordCmd) Run(sh *shell) error {
	dir, err := c.dataDir(sh)
	if err != nil {
		return err
	}
	id, err := web.Dial(dir).Record(sh.ctx, c.Session, c.Project)
	if err != nil {
		return fmt.Errorf("record session %s: %w", c.Session, err)
	}
	if c.JSON {
		return printJSON(sh.stdout, map[string]string{"egress_id": id})
	}
	fmt.Fprintln(sh.stdout, escape(id))
	return nil
}
