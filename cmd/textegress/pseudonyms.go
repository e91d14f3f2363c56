package main

import (
	"fmt"

	"github.com/syncflow/textegress/internal/pseudonym"
)

type pseudonymsCmd struct {
	dataDirFlag

	Project string `placeholder:"ID" help:"Only those of this project."`
	JSON    bool   `name:"json" help:"Answer as JSON: pseudonyms, a list of project_id, pseudonym, identity."`
}

type pseudonymsAnswer struct {
	Pseudonyms []pseudonym.Entry `json:"pseudonyms"`
}

func (c *pseudonymsCmd) Run(sh *shell) error {
	dir, err := c.dataDir(sh)
	if err != nil {
		return err
	}
	list, err := pseudonym.OpenReadOnly(dir).List(c.Project)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sh.stdout, pseudonymsAnswer{Pseudonyms: list})
	}
	rows := [][]string{{"PROJECT", "PSEUDONYM", "IDENTITY"}}
	for _, e := range list {
		rows = append(rows, []string{e.ProjectID, e.Pseudonym, e.Identity})
	}
	if err := printTable(sh.stdout, rows); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintf(sh.stderr, "There are no pseudonyms in %s: no recording was delivered "+
			"under any.\n", escape(dir))
	}
	return nil
}
