package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/verify"
)

type verifyCmd struct {
	Location string `arg:"" name:"directory|s3://bucket/prefix" help:"The place that holds manifest.json of the recording."`
	Key      string `name:"e2ee-key-file" type:"path" placeholder:"FILE" help:"The keys that the recording was decrypted with, as for export; by default those of the settings."`
	JSON     bool   `name:"json" help:"Print JSON: ok, result (verified, not_derived, failed), problems, egress_id, objects, bytes, messages, derived, completeness."`
}

func (c *verifyCmd) Run(env *environment) error {
	fsys, err := env.openDelivered(c.Location)
	if err != nil {
		return err
	}
	show, finish := progress(env.stderr, "verifying")
	report, err := verify.Recording(env.ctx, fsys, verify.Options{
		Keys: func(projectID string) (*render.Keys, error) {
			o, err := withKeys(env, render.Options{}, c.Key, projectID)
			return o.Keys, err
		},
		Decrypt: c.Key != "", Progress: show, KeepFree: env.keepFree(),
	})
	finish()
	if err != nil {
		return err
	}
	if err := c.print(env, report); err != nil {
		return err
	}
	switch {
	case report.OK:
		return nil
	case report.Unread == len(report.Problems):
		return fmt.Errorf("%s could not be verified: %d objects could not be read", c.Location,
			report.Unread)
	}
	return problemsFoundError("%s does not match its manifest: %d problems",
		c.Location, len(report.Problems))
}

func (c *verifyCmd) print(env *environment, report verify.Report) error {
	if c.JSON {
		return printJSON(env.stdout, report)
	}
	for _, problem := range report.Problems {
		fmt.Fprintln(env.stdout, escape(problem))
	}
	if report.OK {
		fmt.Fprintf(env.stdout, "%s: %s, %s, %d objects, %d bytes, %d messages\n",
			strings.ReplaceAll(string(report.Result), "_", " "),
			escape(report.EgressID), escape(report.Status), report.Objects, report.Bytes,
			report.Messages)
		if report.Derived {
			fmt.Fprintln(env.stdout, "The statement below and every view were derived again "+
				"from the raw segments and are identical.")
		} else {
			fmt.Fprintf(env.stdout, "Every object matches the manifest. %s The statement below "+
				"is that of the manifest; it could not be derived again as a whole.\n", escape(report.NotDerived))
		}
		printConsent(env.stdout, report)
		printStatement(env.stdout, *report.Completeness, report.Merged)
	}
	return nil
}

// printConsent prints what was intentionally not recorded or was removed.
func printConsent(w io.Writer, a verify.Report) {
	if a.Pseudonyms {
		fmt.Fprintf(w, "Identities are replaced by pseudonyms. Left out: %s. Message texts were "+
			"not searched for names.\n", escape(strings.Join(a.LeftOut, "; ")))
	}
	if f := a.Forgotten; f != nil {
		fmt.Fprintf(w, "Participants were removed from this recording; %d lines of kind "+
			"forgotten replace their data.\n", f.Lines)
	}
	if s := a.Selection; s != nil {
		packets := int64(0)
		for _, d := range s.Dropped {
			packets += d.Packets
		}
		atLeast := ""
		if s.AtLeast {
			atLeast = "at least "
		}
		fmt.Fprintf(w, "Topic or identity lists were in force: %s%d packets were received but "+
			"not recorded.\n", atLeast, packets)
	}
}
