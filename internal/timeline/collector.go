package timeline

import (
	"time"

	"github.com/syncflow/textegress"
)

// Limits bound what a [Collector] keeps. A zero stands for the default.
type Limits struct {
	Lanes   int // participants with a lane [200]
	Parts   int // entries of Counts of one lane [360]
	Outages int // [200]
	Present int // intervals of one lane [50]; further ones are joined to the last
}

// Collector turns the lines of a recording into [Data].
type Collector struct {
	limits Limits
	d      Data
}

// NewCollector returns a collector without lines.
func NewCollector(l Limits) *Collector { return &Collector{limits: l} }

// Add adds the next line. It keeps nothing of m.
func (c *Collector) Add(_ *textegress.Message) {}

// Data returns what the lines so far amount to, up to the time until; zero: the last line. More
// lines can be added afterwards.
func (c *Collector) Data(_ time.Time) Data { return c.d }
