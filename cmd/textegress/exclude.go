package main

import (
	"errors"
	"fmt"

	"github.com/syncflow/textegress/internal/web"
)

type excludeCmd struct {
	dataDirFlag

	Identity string `arg:"" help:"The participant's exact identity or, in a project under pseudonyms, the pseudonym."`
	Session  string `placeholder:"ID" help:"Only in this session: its id, or the egress id of a recording. Without it: in all sessions of the project, also later ones."`
	Project  string `placeholder:"ID" help:"Only in this project. Without it: in all projects, or in that of the session."`
	Undo     bool   `help:"End the exclusion: what the participant sends from now on is recorded again."`
	JSON     bool   `name:"json" help:"Print JSON: projects, present."`
}

func (c *excludeCmd) Run(env *environment) error {
	if c.Identity == "" {
		return usageError(errors.New("the identity is empty"))
	}
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	answer, err := web.Dial(dir).Exclude(env.ctx, web.ExcludeRequest{
		Identity: c.Identity, SessionID: c.Session, Project: c.Project, Undo: c.Undo,
	})
	if err != nil {
		return fmt.Errorf("exclude: %w", err)
	}
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	switch {
	case c.Undo:
		fmt.Fprintln(env.stdout, "The participant is recorded again.")
	case answer.Present == 0:
		fmt.Fprintln(env.stdout, "Nothing of this participant is recorded from now on. No session "+
			"under way has seen anybody with this identity: check its spelling.")
	default:
		fmt.Fprintln(env.stdout, "Nothing of this participant is recorded from now on. What was "+
			"recorded before stays until `textegress forget`.")
	}
	return nil
}
