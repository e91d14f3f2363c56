package delivery

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/statement"
)

// Plan states what will be delivered. It is durable before the first upload: the first plan of a
// recording as export.json, later ones as export-r<revision>.json. Every attempt, even by a later
// process, delivers exactly what the latest plan states. If that cannot be rendered again, the next
// revision starts.
type Plan struct {
	FormatVersion int    `json:"format_version"`
	Exporter      string `json:"exporter"`
	Revision      int    `json:"revision"`
	Prefix        string `json:"prefix"` // of the keys in the bucket, with a trailing slash
	// Views are the views that rendered the objects. Plans of earlier program versions name none.
	Views render.Views `json:"views,omitempty"`
	// Details sums up the completeness statement of the manifest in a few sentences, without names
	// of participants. Plans of earlier program versions have none.
	Details string `json:"details,omitempty"`
	// Summary sums it up for lists of recordings. Plans of earlier program versions have none.
	Summary *Summary `json:"summary,omitempty"`
	// Objects are all objects in the order in which they are delivered, the manifest last. Keys are
	// relative to Prefix.
	Objects []textegress.Object `json:"objects"`
}

const planFormat = 1

// NewPlan returns the plan that delivers the manifest m and its objects.
func NewPlan(info spool.Info, m textegress.Manifest) (Plan, error) {
	data, err := m.Encode()
	if err != nil {
		return Plan{}, err
	}
	sum := sha256.Sum256(data)
	p := Plan{
		FormatVersion: planFormat, Exporter: m.Exporter, Revision: m.Revision,
		Prefix: Prefix(info, m.Revision), Details: details(m), Summary: summary(m),
	}
	p.Objects = append(p.Objects, m.Objects...)
	p.Objects = append(p.Objects, textegress.Object{
		Key: textegress.ManifestName, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		ContentType: "application/json",
	})
	return p, nil
}

// details returns [Plan].Details. The sentences use the terms of docs/GUARANTEES.md.
func details(m textegress.Manifest) string {
	unexplained := uint64(0)
	for _, conn := range m.Completeness.Connections {
		if conn.Sequence != nil {
			unexplained += conn.Sequence.UnexplainedNumbers
		}
	}
	text := fmt.Sprintf("Packets: %d, in %d messages. Outages: %d. Numbers missing without "+
		"explanation: %d. Unreadable ranges: %d. Tail: %s.", m.Counts.Packets, m.Counts.Messages,
		len(m.Completeness.Outages), unexplained, m.Completeness.CorruptRanges,
		m.Completeness.Tail)
	if m.Completeness.Suspect {
		text += " The disk reported an error while it recorded."
	}
	return text
}

// Summary is what a list of recordings shows of one. It names no participant.
type Summary struct {
	Captured     string          `json:"captured"` // see [statement.Phrase]
	Level        statement.Level `json:"level"`
	Messages     int64           `json:"messages"`
	Participants int             `json:"participants"`
	Outages      int             `json:"outages"`
	Files        int             `json:"files"` // that participants sent
}

// NewSummary returns the summary of the recording with the manifest m.
func NewSummary(m textegress.Manifest) Summary {
	s := Summary{
		Messages: m.Counts.Messages, Participants: m.Counts.Participants,
		Outages: len(m.Completeness.Outages),
	}
	s.Captured, s.Level = statement.Phrase(m)
	for _, o := range m.Objects {
		if strings.HasPrefix(o.Key, textegress.FilesDir) {
			s.Files++
		}
	}
	return s
}

func summary(m textegress.Manifest) *Summary {
	s := NewSummary(m)
	return &s
}

// views returns the views with which the objects are rendered again.
func (p Plan) views() render.Views {
	if p.Views == nil {
		return render.FirstViews()
	}
	return p.Views
}

// Prefix returns the prefix under which a revision of a recording is delivered: the first one at
// the recording's own prefix, a later one at r<revision>/ below it, so that earlier deliveries stay
// unchanged.
func Prefix(info spool.Info, revision int) string {
	if revision <= 1 {
		return info.KeyPrefix
	}
	return fmt.Sprintf("%sr%d/", info.KeyPrefix, revision)
}

// Equal reports whether p and q deliver the same bytes to the same keys.
func (p Plan) Equal(q Plan) bool {
	if p.Prefix != q.Prefix || len(p.Objects) != len(q.Objects) {
		return false
	}
	for i, o := range p.Objects {
		if r := q.Objects[i]; o.Key != r.Key || o.Size != r.Size || o.SHA256 != r.SHA256 ||
			o.ContentType != r.ContentType {
			return false
		}
	}
	return true
}

// Bytes returns the sum of the objects' sizes.
func (p Plan) Bytes() int64 {
	n := int64(0)
	for _, o := range p.Objects {
		n += o.Size
	}
	return n
}

// Save writes p durably and once. When it returns nil, p survives a power failure.
func (p Plan) Save(r *spool.Recording) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return fmt.Errorf("encode the delivery plan: %w", err)
	}
	if p.Revision <= 1 || r.State() == spool.StateSealed {
		return r.WriteExport(buf.Bytes())
	}
	return r.WriteExportRevision(p.Revision, buf.Bytes())
}

// DamagedPlanError reports that the latest plan cannot be read, so the objects to deliver are
// unknown. No data is lost: the recording can be rendered again and delivered as the next revision.
type DamagedPlanError struct {
	Revision int // of the damaged plan
	Err      error
}

func (e *DamagedPlanError) Error() string {
	return fmt.Sprintf("read the delivery plan of revision %d: %v", e.Revision, e.Err)
}

func (e *DamagedPlanError) Unwrap() error { return e.Err }

// LoadPlan returns the latest plan, false if there is none. It first makes the plan durable,
// because an earlier Save may have failed after it created the file. The error is a
// *DamagedPlanError if the file exists and cannot be parsed.
func LoadPlan(r *spool.Recording) (Plan, bool, error) {
	data, ok, err := r.Export()
	if err != nil || !ok {
		return Plan{}, false, err
	}
	if r.State() == spool.StateSealed {
		if err := r.WriteExport(data); err != nil {
			return Plan{}, false, err
		}
	}
	first, err := FirstRevision(r)
	if err != nil {
		return Plan{}, false, err
	}
	revision := first
	for {
		later, ok, err := r.ExportRevision(revision + 1)
		if err != nil {
			return Plan{}, false, err
		}
		if !ok {
			break
		}
		data = later
		revision++
	}
	if revision > first && r.State() == spool.StateExported {
		err := r.WriteExportRevision(revision, data)
		if err != nil && !errors.Is(err, spool.ErrReadOnly) {
			return Plan{}, false, err
		}
	}
	p, err := parsePlan(data, r.Info(), revision)
	if err != nil {
		return Plan{}, false, err
	}
	return p, true, nil
}

// parsePlan parses a plan written by Save. It rejects a plan that would deliver to keys of other
// recordings.
func parsePlan(data []byte, info spool.Info, revision int) (Plan, error) {
	damaged := func(format string, args ...any) error {
		return &DamagedPlanError{Revision: revision, Err: fmt.Errorf(format, args...)}
	}
	var p Plan
	if err := textegress.DecodeJSON(data, &p); err != nil {
		return Plan{}, damaged("%w", err)
	}
	if p.FormatVersion > planFormat {
		return Plan{}, fmt.Errorf("read the delivery plan: format version %d, this program "+
			"supports %d",
			p.FormatVersion, planFormat)
	}
	switch {
	case p.FormatVersion != planFormat:
		return Plan{}, damaged("format version %d", p.FormatVersion)
	case p.Revision != revision:
		return Plan{}, damaged("it states revision %d", p.Revision)
	case p.Prefix != Prefix(info, revision):
		return Plan{}, damaged("it states another prefix in the bucket")
	case len(p.Objects) == 0 || p.Objects[len(p.Objects)-1].Key != textegress.ManifestName:
		return Plan{}, damaged("the manifest is not its last object")
	}
	seen := map[string]bool{}
	for _, o := range p.Objects {
		sum, err := hex.DecodeString(o.SHA256)
		if !fs.ValidPath(o.Key) || o.Key == "." || seen[o.Key] || o.Size < 0 || err != nil ||
			len(sum) != sha256.Size {
			return Plan{}, damaged("an object has an invalid or repeated key, or an invalid " +
				"size or SHA-256")
		}
		seen[o.Key] = true
	}
	return p, nil
}
