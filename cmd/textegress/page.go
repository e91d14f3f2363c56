package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type pageCmd struct {
	dataDirFlag

	JSON bool `name:"json" help:"Print JSON: url."`
}

func (c *pageCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	url, err := web.Dial(dir).Page(env.ctx)
	if err != nil {
		return fmt.Errorf("make a link to the page: %w", err)
	}
	if c.JSON {
		return printJSON(env.stdout, map[string]string{"url": url})
	}
	fmt.Fprintln(env.stdout, escape(url))
	return nil
}
