package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/web"
)

type rehearseCmd struct {
	dataDirFlag

	Project string `placeholder:"ID" help:"Id of the project (LiveKit: its name); needed only if several are configured."`
	JSON    bool   `name:"json" help:"Print one JSON object for each step: name, result, detail, took_ms."`
}

func (c *rehearseCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	began, untried := time.Now(), false
	var failed error // to write
	err = web.Dial(dir).Rehearse(env.ctx, c.Project, func(s web.RehearsalStep) {
		untried = untried || s.Result == web.NotTried
		if c.JSON {
			failed = errors.Join(failed, json.NewEncoder(env.stdout).Encode(s))
			return
		}
		took := time.Duration(s.TookMS * float64(time.Millisecond)).Round(time.Millisecond)
		fmt.Fprintf(env.stdout, "%-9s %-9s %8s  %s\n", strings.ReplaceAll(s.Result, "_",
			" "), s.Name, took, escape(s.Detail))
	})
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("write the steps: %w", failed)
	}
	if c.JSON {
		return nil
	}
	result := "The rehearsal succeeded"
	if untried {
		result = "What was tried succeeded"
	}
	fmt.Fprintf(env.stdout, "%s in %v: this service records, delivers and verifies.\n", result,
		time.Since(began).Round(100*time.Millisecond))
	return nil
}
