package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/pseudonym"
)

type pseudonymsCmd struct {
	dataDirFlag

	Project string `placeholder:"ID" help:"Only those of this project."`
	JSON    bool   `name:"json" help:"Print JSON: pseudonyms, a list of project_id, pseudonym, identity."`
}

type pseudonymsAnswer struct {
	Pseudonyms []pseudonym.Entry `json:"pseudonyms"`
}

func (c *pseudonymsCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	list, err := pseudonym.OpenReadOnly(dir).List(c.Project)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.stdout, pseudonymsAnswer{Pseudonyms: list})
	}
	rows := [][]string{{"PROJECT", "PSEUDONYM", "IDENTITY"}}
	for _, e := range list {
		rows = append(rows, []string{e.ProjectID, e.Pseudonym, e.Identity})
	}
	if err := printTable(env.stdout, rows); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintf(env.stderr, "There are no pseudonyms in %s: no recording was delivered "+
			"under pseudonyms.\n", escape(dir))
	}
	return nil
}
