// Package verify checks a delivered recording for consistency. It compares every object with the
// manifest, and derives statement, counts and views again from the raw segments.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/render"
)

// Result sums up a [Report].
type Result string

// The results.
const (
	// every object matches the manifest, and everything was derived again with the same result
	Verified Result = "verified"
	// every object matches the manifest, but its statements could not be derived again
	NotDerived Result = "not_derived"
	Failed     Result = "failed" // see the problems
)

// Report is the result of a verification.
type Report struct {
	// OK reports that there are no problems. This is weaker than [Verified].
	OK     bool   `json:"ok"`
	Result Result `json:"result"`
	// one for each missing, altered or unreadable object, and each false part of the statement
	Problems []string `json:"problems"`
	EgressID string   `json:"egress_id,omitempty"`
	Status   string   `json:"status,omitempty"`
	Objects  int      `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Messages int64    `json:"messages"`
	// Derived reports that statement, counts and views were derived again from the raw segments and
	// compared.
	Derived bool `json:"derived"`
	// NotDerived is the reason why they were not derived.
	NotDerived string `json:"not_derived,omitempty"`
	// Completeness is the statement in the manifest.
	Completeness *textegress.Completeness     `json:"completeness,omitempty"`
	Merged       []textegress.MergedRecording `json:"merged,omitempty"`

	// Content that was deliberately not recorded, and content removed later.
	Selection *textegress.Selection `json:"selection,omitempty"`
	Forgotten *textegress.Forgotten `json:"forgotten,omitempty"`

	// Pseudonyms reports that identities are replaced by pseudonyms. LeftOut lists what was not
	// delivered.
	Pseudonyms bool     `json:"pseudonyms,omitempty"`
	LeftOut    []string `json:"left_out,omitempty"`

	// Unread is the number of problems that are failures of the store or the disk and say nothing
	// about the recording.
	Unread int `json:"-"`
}

// Options of [Recording].
type Options struct {
	// Keys returns the keys that decrypted a project's recordings for delivery, or nil if there are
	// none. It is called only if Decrypt is set or the manifest states decrypted packets. A nil
	// function means no keys.
	Keys func(projectID string) (*render.Keys, error)
	// Decrypt requests the keys in any case.
	Decrypt bool
	// Progress, if not nil, is called with the number of bytes read so far and in total.
	Progress func(done, total int64)
	// KeepFree is the number of bytes left free on the file system of temporary files.
	KeepFree int64
}

// Recording verifies the recording whose manifest.json is at the root of fsys. The report lists its
// problems. An error means that the recording could not be examined or that ctx ended.
func Recording(ctx context.Context, fsys fs.FS, o Options) (Report, error) {
	r := Report{Problems: []string{}, Result: Failed}
	recording, err := textegress.Open(fsys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Problems = append(r.Problems, "manifest.json is missing: the delivery is unfinished, "+
			"or this is not a delivered recording")
		return r, nil
	case err != nil && unreadable(err):
		return r, err
	case err != nil:
		r.Problems = append(r.Problems, err.Error())
		return r, nil
	}
	manifest := recording.Manifest()
	r.state(manifest)
	err = recording.Verify(ctx, o.Progress)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return r, fmt.Errorf("verify: %w", ctxErr)
	}
	r.add(parts(err)...)
	if len(r.Problems) == 0 {
		if err := r.derive(ctx, fsys, manifest, o); err != nil {
			return r, err
		}
	}
	switch r.OK = len(r.Problems) == 0; {
	case !r.OK:
	case r.Derived:
		r.Result = Verified
	default:
		r.Result = NotDerived
	}
	return r, nil
}

// state copies the statements of the manifest into the report.
func (r *Report) state(m textegress.Manifest) {
	r.EgressID, r.Status = m.EgressID, string(m.Status)
	r.Objects, r.Messages = len(m.Objects), m.Counts.Messages
	r.Completeness, r.Merged = &m.Completeness, m.Merged
	r.Selection, r.Forgotten = m.Selection, m.Forgotten
	r.Pseudonyms, r.LeftOut = m.Pseudonyms, m.LeftOut
	for _, o := range m.Objects {
		r.Bytes += o.Size
	}
}

func (r *Report) add(problems ...error) {
	for _, problem := range problems {
		r.Problems = append(r.Problems, problem.Error())
		if unreadable(problem) {
			r.Unread++
		}
	}
}

// derive computes the statement and the views again from the raw segments and compares them. The
// raw segments have already been checked against the manifest.
func (r *Report) derive(ctx context.Context, fsys fs.FS, stated textegress.Manifest,
	o Options,
) error {
	if !render.HasRaw(stated) {
		if r.NotDerived = "The recording has no raw segments."; stated.Pseudonyms {
			r.NotDerived = "The recording was delivered under pseudonyms, without its raw " +
				"segments; the recorder keeps those on its disk for RETENTION."
		}
		r.noRaw(fsys)
		return nil
	}
	source, err := render.FromDelivered(fsys)
	var derived textegress.Manifest
	if err == nil {
		ro := render.Options{Revision: stated.Revision, Views: render.ViewsOf(stated)}
		if o.Keys != nil && (o.Decrypt || stated.Counts.DecryptedPackets != nil) {
			if ro.Keys, err = o.Keys(source.Info().ProjectID); err != nil {
				return err
			}
		}
		if ro.Keys == nil && stated.Counts.DecryptedPackets != nil {
			// The parts that do not depend on the key are compared anyway.
			r.NotDerived = "The recording was decrypted with a key that is not in the settings; " +
				"give it with --e2ee-key-file."
		}
		derived, err = Derive(ctx, source, ro, o.KeepFree)
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("verify: %w", ctxErr)
	}
	if errors.Is(err, diskguard.ErrLow) {
		return err
	}
	if view, ok := errors.AsType[*render.ViewError](err); ok {
		r.NotDerived = fmt.Sprintf("The recording contains version %d of the view %q, which "+
			"this program does not render; use the version that exported it.",
			view.Version, view.Name)
		return nil
	}
	if err != nil {
		r.add(err)
		return nil
	}
	if stated.Exporter != derived.Exporter {
		r.NotDerived = strings.TrimSpace(r.NotDerived + fmt.Sprintf(
			" The recording was exported by %s; this is %s, which judges streams by other "+
				"rules, so views and streams were not compared. By the rules of this version %d "+
				"streams are proved complete and %d are not.",
			stated.Exporter, derived.Exporter, derived.Completeness.Streams.Complete,
			derived.Completeness.Streams.Incomplete))
	}
	r.Derived = r.NotDerived == ""
	for _, text := range Compare(stated, derived) {
		r.add(errors.New(text))
	}
	return nil
}

const rawInfo = textegress.RawDir + "recording.json"

// noRaw adds a problem if raw segments exist although the manifest lists none. A manifest may leave
// them out, but then they must not exist.
func (r *Report) noRaw(fsys fs.FS) {
	f, err := textegress.OpenObject(fsys, rawInfo)
	switch {
	case err == nil:
		_ = f.Close() // nothing was read
		r.add(fmt.Errorf("%s exists, but the manifest lists nothing in raw/: it is not the "+
			"manifest of this recording", rawInfo))
	case !errors.Is(err, fs.ErrNotExist):
		r.add(err)
	}
}

// unreadable reports whether err is a failure to read, not a missing or wrong object. A link that
// leads out of the recording is a wrong object.
func unreadable(err error) bool {
	_, file := errors.AsType[syscall.Errno](err)
	_, object := errors.AsType[*objstore.Error](err)
	return (file || object) && !errors.Is(err, fs.ErrNotExist)
}

// parts returns the parts of a joined error.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		//nolint:errorlint // only the direct parts of this error are wanted
		return joined.Unwrap()
	}
	return []error{err}
}
