package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type stopCmd struct {
	dataDirFlag

	ID   string `arg:"" name:"id" help:"Egress id of the recording, or id of its session."`
	JSON bool   `name:"json" help:"Print JSON: egress_id."`
}

func (c *stopCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	id, err := web.Dial(dir).Stop(env.ctx, c.ID)
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if c.JSON {
		return printJSON(env.stdout, map[string]string{"egress_id": id})
	}
	fmt.Fprintln(env.stdout, escape(id))
	return nil
}
