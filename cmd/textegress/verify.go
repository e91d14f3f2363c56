package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore"
)

type verifyCmd struct {
	Location string `arg:"" name:"directory|s3://bucket/prefix" help:"Where manifest.json of the recording is."`
	JSON     bool   `name:"json" help:"Answer as JSON: ok, problems, egress_id, objects, bytes, messages."`
}

type verifyAnswer struct {
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"` // one for each missing, altered or unreadable object
	EgressID string   `json:"egress_id,omitempty"`
	Status   string   `json:"status,omitempty"`
	Objects  int      `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Messages int64    `json:"messages"`

	unread int // problems that say nothing about the recording: the store or the disk did not answer
}

func (c *verifyCmd) Run(sh *shell) error {
	fsys, err := sh.openDelivered(c.Location)
	if err != nil {
		return err
	}
	answer, err := verify(sh, fsys)
	if err != nil {
		return err
	}
	if err := c.print(sh, answer); err != nil {
		return err
	}
	switch {
	case answer.OK:
		return nil
	case answer.unread == len(answer.Problems):
		return fmt.Errorf("%s could not be verified: %d objects could not be read", c.Location, answer.unread)
	}
	return foundError("%s is not the recording that its manifest describes: %d problems", c.Location, len(answer.Problems))
}

// verify returns an error where it could not even begin to look.
func verify(sh *shell, fsys fs.FS) (verifyAnswer, error) {
	answer := verifyAnswer{Problems: []string{}}
	recording, err := textegress.Open(fsys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		answer.Problems = append(answer.Problems, "manifest.json is missing: the delivery is not finished, or this is not the place of a recording")
		return answer, nil
	case err != nil && unreadable(err):
		return answer, err
	case err != nil:
		answer.Problems = append(answer.Problems, err.Error())
		return answer, nil
	}
	manifest := recording.Manifest()
	answer.EgressID, answer.Status = manifest.EgressID, string(manifest.Status)
	answer.Objects, answer.Messages = len(manifest.Objects), manifest.Counts.Messages
	for _, o := range manifest.Objects {
		answer.Bytes += o.Size
	}
	show, finish := progress(sh.stderr, "verifying")
	err = recording.Verify(sh.ctx, show)
	finish()
	if ctxErr := sh.ctx.Err(); ctxErr != nil {
		return answer, fmt.Errorf("verify: %w", ctxErr)
	}
	answer.OK = err == nil
	for _, problem := range parts(err) {
		answer.Problems = append(answer.Problems, problem.Error())
		if unreadable(problem) {
			answer.unread++
		}
	}
	return answer, nil
}

// unreadable tells what could not be read from what is missing or wrong.
func unreadable(err error) bool {
	_, file := errors.AsType[*fs.PathError](err)
	_, object := errors.AsType[*objstore.Error](err)
	return (file || object) && !errors.Is(err, fs.ErrNotExist)
}

// parts takes a joined error apart.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // exactly this error's own parts are asked for
		return joined.Unwrap()
	}
	return []error{err}
}

func (c *verifyCmd) print(sh *shell, answer verifyAnswer) error {
	if c.JSON {
		return printJSON(sh.stdout, answer)
	}
	for _, problem := range answer.Problems {
		fmt.Fprintln(sh.stdout, escape(problem))
	}
	if answer.OK {
		fmt.Fprintf(sh.stdout, "verified: %s, %s, %d objects, %d bytes, %d messages\n",
			escape(answer.EgressID), escape(answer.Status), answer.Objects, answer.Bytes, answer.Messages)
	}
	return nil
}
