package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

type verifyCmd struct {
	Location string `arg:"" name:"directory|s3://bucket/prefix" help:"Where manifest.json of the recording is."`
	Key      string `name:"e2ee-key-file" type:"path" placeholder:"FILE" help:"Keys with which a recording of an encrypted room was decrypted, as for export; else those of the settings."`
	JSON     bool   `name:"json" help:"Answer as JSON: ok, result (verified, not_derived, failed), problems, egress_id, objects, bytes, messages, derived, completeness."`
}

// What verify can find. ok in the answer says that there is no problem, which is less than
// verified.
const (
	// every object is what the manifest says, and all of it was derived again and is the same
	resultVerified = "verified"
	// every object is what the manifest says, and whether that is true could not be derived
	resultNotDerived = "not_derived"
	resultFailed     = "failed" // see the problems
)

type verifyAnswer struct {
	OK     bool   `json:"ok"`
	Result string `json:"result"`
	// one for each missing, altered or unreadable object, and each part of the statement that is
	// not true
	Problems []string `json:"problems"`
	EgressID string   `json:"egress_id,omitempty"`
	Status   string   `json:"status,omitempty"`
	Objects  int      `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Messages int64    `json:"messages"`
	// Derived: statement, counts and views were derived again from the raw segments and compared.
	Derived bool `json:"derived"`
	// NotDerived says why not.
	NotDerived string `json:"not_derived,omitempty"`
	// Completeness is what the manifest states.
	Completeness *textegress.Completeness     `json:"completeness,omitempty"`
	Merged       []textegress.MergedRecording `json:"merged,omitempty"`

	// What was not recorded on purpose, and what was removed later.
	Selection *textegress.Selection `json:"selection,omitempty"`
	Forgotten *textegress.Forgotten `json:"forgotten,omitempty"`

	// Pseudonyms: identities are replaced, and LeftOut was not delivered.
	Pseudonyms bool     `json:"pseudonyms,omitempty"`
	LeftOut    []string `json:"left_out,omitempty"`

	// problems that say nothing about the recording: the store or the disk did not answer
	unread int
}

func (c *verifyCmd) Run(sh *shell) error {
	fsys, err := sh.openDelivered(c.Location)
	if err != nil {
		return err
	}
	answer, err := verify(sh, fsys, c.Key)
	if err != nil {
		return err
	}
	switch {
	case !answer.OK:
		answer.Result = resultFailed
	case answer.Derived:
		answer.Result = resultVerified
	default:
		answer.Result = resultNotDerived
	}
	if err := c.print(sh, answer); err != nil {
		return err
	}
	switch {
	case answer.OK:
		return nil
	case answer.unread == len(answer.Problems):
		return fmt.Errorf("%s could not be verified: %d objects could not be read", c.Location,
			answer.unread)
	}
	return foundError("%s is not the recording that its manifest describes: %d problems",
		c.Location, len(answer.Problems))
}

// verify returns an error where it could not even begin to look.
func verify(sh *shell, fsys fs.FS, keyFile string) (verifyAnswer, error) {
	answer := verifyAnswer{Problems: []string{}}
	recording, err := textegress.Open(fsys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		answer.Problems = append(answer.Problems, "manifest.json is missing: the delivery is not "+
			"finished, or this is not the place of a recording")
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
	answer.Completeness, answer.Merged = &manifest.Completeness, manifest.Merged
	answer.Selection, answer.Forgotten = manifest.Selection, manifest.Forgotten
	answer.Pseudonyms, answer.LeftOut = manifest.Pseudonyms, manifest.LeftOut
	for _, o := range manifest.Objects {
		answer.Bytes += o.Size
	}
	show, finish := progress(sh.stderr, "verifying")
	err = recording.Verify(sh.ctx, show)
	finish()
	if ctxErr := sh.ctx.Err(); ctxErr != nil {
		return answer, fmt.Errorf("verify: %w", ctxErr)
	}
	answer.add(parts(err)...)
	if answer.OK = err == nil; answer.OK {
		if err := answer.derive(sh, fsys, manifest, keyFile); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

func (a *verifyAnswer) add(problems ...error) {
	for _, problem := range problems {
		a.Problems = append(a.Problems, problem.Error())
		if unreadable(problem) {
			a.unread++
		}
	}
}

// derive makes the statement and the views again from the raw segments, which are known to be those
// of the manifest, and compares.
func (a *verifyAnswer) derive(sh *shell, fsys fs.FS, stated textegress.Manifest,
	keyFile string,
) error {
	if !render.HasRaw(stated) {
		if a.NotDerived = "There are no raw segments."; stated.Pseudonyms {
			a.NotDerived = "It was delivered under pseudonyms, without the raw segments; those " +
				"are on the disk of the recorder until RETENTION has passed."
		}
		// What a manifest leaves out cannot be held against it, but it must not be there.
		f, err := textegress.OpenObject(fsys, rawInfo)
		if err == nil {
			a.OK = false
			a.add(fmt.Errorf("%s is there, and the manifest lists nothing in raw/: it is not the "+
				"manifest of this recording", rawInfo))
			return f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			a.OK = false
			a.add(fmt.Errorf("%s: %w", rawInfo, err))
		}
		return nil
	}
	source, err := render.FromDelivered(fsys)
	var derived textegress.Manifest
	if err == nil {
		o := render.Options{Revision: stated.Revision}
		if keyFile != "" || stated.Counts.DecryptedPackets != nil {
			if o, err = withKeys(sh, o, keyFile, source.Info().ProjectID); err != nil {
				return err
			}
			if o.Keys == nil {
				// What does not depend on the key is compared all the same.
				a.NotDerived = "It was decrypted with a key that is not in the settings; name it " +
					"with --e2ee-key-file."
			}
		}
		derived, err = render.Derive(sh.ctx, source, o, sh.keepFree())
	}
	if ctxErr := sh.ctx.Err(); ctxErr != nil {
		return fmt.Errorf("verify: %w", ctxErr)
	}
	if errors.Is(err, spool.ErrDiskLow) {
		return err
	}
	if err != nil {
		a.OK = false
		a.add(err)
		return nil
	}
	if stated.Exporter != derived.Exporter {
		a.NotDerived = strings.TrimSpace(a.NotDerived + fmt.Sprintf(
			" It was exported by %s, and this is %s, which judges streams by other rules: views "+
				"and streams were not compared. By them %d streams are proved complete and "+
				"%d are not.",
			stated.Exporter, derived.Exporter, derived.Completeness.Streams.Complete,
			derived.Completeness.Streams.Incomplete))
	}
	a.Derived = a.NotDerived == ""
	for _, text := range render.Compare(stated, derived) {
		a.OK = false
		a.add(errors.New(text))
	}
	return nil
}

const rawInfo = textegress.RawDir + "recording.json"

// unreadable tells what could not be read from what is missing or wrong: a link that leads out of
// the recording is wrong.
func unreadable(err error) bool {
	_, file := errors.AsType[syscall.Errno](err)
	_, object := errors.AsType[*objstore.Error](err)
	return (file || object) && !errors.Is(err, fs.ErrNotExist)
}

// parts takes a joined error apart.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		//nolint:errorlint // exactly this error's own parts are asked for
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
		fmt.Fprintf(sh.stdout, "%s: %s, %s, %d objects, %d bytes, %d messages\n",
			strings.ReplaceAll(answer.Result, "_", " "),
			escape(answer.EgressID), escape(answer.Status), answer.Objects, answer.Bytes,
			answer.Messages)
		if answer.Derived {
			fmt.Fprintln(sh.stdout, "The statement below and every view were derived again from "+
				"the raw segments: they are the same.")
		} else {
			fmt.Fprintf(sh.stdout, "Every object is the one that the manifest names. %s The "+
				"statement below could not be derived again as a whole: "+
				"it is what the manifest says.\n", escape(answer.NotDerived))
		}
		printConsent(sh.stdout, answer)
		printStatement(sh.stdout, *answer.Completeness, answer.Merged)
	}
	return nil
}

// printConsent says what is missing on purpose.
func printConsent(w io.Writer, a verifyAnswer) {
	if a.Pseudonyms {
		fmt.Fprintf(w, "Identities are replaced by pseudonyms. Left out: %s. What people wrote "+
			"was not searched for names.\n", escape(strings.Join(a.LeftOut, "; ")))
	}
	if f := a.Forgotten; f != nil {
		fmt.Fprintf(w, "Participants were removed from this recording: %d lines of kind "+
			"forgotten stand in their place.\n", f.Lines)
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
		fmt.Fprintf(w, "Lists of topics or identities were in force: %s%d packets were received "+
			"and not recorded.\n", atLeast, packets)
	}
}
