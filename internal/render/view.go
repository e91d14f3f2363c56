package render

import (
	"fmt"
	"maps"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// View renders one kind of object from the lines of a recording.
type View interface {
	// Begin is called once, before the first line. The view creates its objects with out.
	Begin(info spool.Info, out *Output) error
	// Line handles the next line. It must not keep l, and only the files view may change it.
	Line(l *decode.Line) error
	// End is called once, after the last line. The manifest lacks only its objects.
	End(m textegress.Manifest) error
}

// views lists every view, in the order in which a line passes through them; files is first because
// it sets the names of files in lines, and report is last because it lists the objects of the
// others. To add a view, add an entry.
//
// A version changes whenever the same lines give different bytes. A plan names its views and their
// versions, so that neither a new view nor a new version starts another revision of a delivery in
// progress.
var views = []struct {
	name    string
	version int
	make    func(Options) View
}{
	{"files", 1, func(o Options) View { return newFilesView(o.maxFiles) }},
	{"events", 1, func(Options) View { return &eventsView{} }},
	{"text", 1, func(Options) View { return newTextView() }},
	{"metadata", 1, func(Options) View { return &metadataView{} }},
	{"report", 1, func(Options) View { return newReportView() }},
}

// Views maps the names of views to their versions.
type Views map[string]int

// CurrentViews returns all views that this program renders.
func CurrentViews() Views {
	all := Views{}
	for _, v := range views {
		all[v.name] = v.version
	}
	return all
}

// FirstViews returns the views of plans and manifests that state none.
func FirstViews() Views { return Views{"files": 1, "events": 1, "text": 1, "metadata": 1} }

// ViewsOf returns the views of a delivered recording.
func ViewsOf(m textegress.Manifest) Views {
	if m.Views == nil {
		return FirstViews()
	}
	return m.Views
}

// stated returns the views as a manifest states them. It omits [FirstViews], so that a manifest of
// these alone is the same as before views had versions.
func (v Views) stated() map[string]int {
	if maps.Equal(v, FirstViews()) {
		return nil
	}
	return v
}

// ViewError reports that this program cannot render a view.
type ViewError struct {
	Name    string
	Version int
}

func (e *ViewError) Error() string {
	return fmt.Sprintf("render: this program does not render version %d of the view %q", e.Version,
		e.Name)
}

// views returns the views to render and their versions.
func (o Options) views() Views {
	if o.Views == nil {
		return CurrentViews()
	}
	return o.Views
}

// makeViews returns the views of o.
func makeViews(o Options) ([]View, error) {
	wanted := maps.Clone(o.views())
	var list []View
	for _, v := range views {
		if version, ok := wanted[v.name]; ok && version == v.version {
			list = append(list, v.make(o))
			delete(wanted, v.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		return nil, &ViewError{Name: name, Version: wanted[name]}
	}
	return list, nil
}
