package render

import (
	"bytes"
	"context"
	"io"

	"github.com/syncflow/textegress"
)

// Report returns the report.html that [Build] writes, and keeps nothing else. It leaves keepFree
// bytes free on the file system of its scratch file.
func Report(ctx context.Context, src Source, o Options, keepFree int64) ([]byte, error) {
	o.WithoutRaw, o.Views = true, nil
	s := &reportSink{Sink: NewDiscardSink(keepFree)}
	if _, err := Build(ctx, src, o, s); err != nil {
		return nil, err
	}
	return s.report.Bytes(), nil
}

// reportSink discards everything but the report.
type reportSink struct {
	Sink

	report bytes.Buffer
}

// Append implements [Sink].
func (s *reportSink) Append(key string) (io.WriteCloser, error) {
	if key == textegress.ReportName {
		return nopCloser{&s.report}, nil
	}
	return s.Sink.Append(key)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
