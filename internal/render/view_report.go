package render

import (
	"bytes"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/report"
	"github.com/syncflow/textegress/internal/spool"
)

// reportView writes report.html, the recording for people.
type reportView struct {
	out    *Output
	report *report.Report
}

func newReportView() *reportView { return &reportView{report: report.New()} }

// Begin implements [View].
func (v *reportView) Begin(_ spool.Info, out *Output) error {
	v.out = out
	return nil
}

// Line implements [View].
func (v *reportView) Line(l *decode.Line) error {
	v.report.Add(&l.Message)
	return nil
}

// End implements [View]. The report lists the objects of the other views, which are complete, but
// not the raw segments: where those are derived from, and when, must not change the report.
func (v *reportView) End(m textegress.Manifest) error {
	m.Objects = objects(v.out)
	var b bytes.Buffer
	if err := v.report.Write(&b, m); err != nil {
		return err
	}
	return v.out.WriteObject(report.Name, typeHTML, b.Bytes())
}
