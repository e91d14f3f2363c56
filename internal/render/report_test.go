package render_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/redact/redacttest"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/report"
	"github.com/syncflow/textegress/internal/spool"
)

// The report is the same whether it is delivered, derived from the spool alone, or written later
// from the manifest and the lines of a delivery; under pseudonyms too.
func TestReportIsAFunctionOfWhatIsDelivered(t *testing.T) {
	sp, err := spool.OpenReadOnly(filepath.Join("testdata", "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	for _, id := range []string{full, aborted, kinds} {
		rec, _ := sp.Recording(id)
		for name, src := range map[string]render.Source{
			"plain": render.FromSpool(rec), "pseudonyms": underPseudonyms{render.FromSpool(rec)},
		} {
			o := render.Options{Pseudonyms: &redacttest.Pseudonyms{}}
			s := newMemSink()
			if _, err := render.Build(t.Context(), src, o, s); err != nil {
				t.Fatal(err)
			}
			want := s.objects[textegress.ReportName]
			if len(want) == 0 {
				t.Fatal("there is no report")
			}
			got, err := render.Report(t.Context(), src, o, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s, %s: derived alone it is another", id, name)
			}
			fsys := fstest.MapFS{}
			for key, data := range s.objects {
				fsys[key] = &fstest.MapFile{Data: data}
			}
			delivered, err := textegress.Open(fsys)
			if err != nil {
				t.Fatal(err)
			}
			var later bytes.Buffer
			if err := report.Delivered(t.Context(), delivered, &later); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(later.Bytes(), want) {
				t.Errorf("%s, %s: written later it is another", id, name)
			}
		}
	}
}
