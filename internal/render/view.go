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
	// Begin is called once, before the first line.
	Begin(info spool.Info, out *Output) error
	// Line takes the next line. Only the files view changes it; others must not keep it.
	Line(l *decode.Line) error
	// End is called once, after the last line. The manifest is complete but for its objects.
	End(m textegress.Manifest) error
}

// views are all that there are, in the order in which a line goes through them. Another one is
// another entry here.
//
// A version changes whenever the same lines would give other bytes. A plan names the views with
// which it was made, so that neither a new view nor a new version begins another revision of what
// is being delivered.
var views = []struct {
	name    string
	version int
	make    func(Options) View
}{
	// The first one, because it names the files in the lines.
	{"files", 1, func(o Options) View { return newFilesView(o.maxFiles) }},
	{"events", 1, func(Options) View { return &eventsView{} }},
	{"text", 1, func(Options) View { return newTextView() }},
	{"metadata", 1, func(Options) View { return &metadataView{} }},
}

// Views are the versions of views, by name.
type Views map[string]int

// CurrentViews returns all views of this program.
func CurrentViews() Views {
	all := Views{}
	for _, v := range views {
		all[v.name] = v.version
	}
	return all
}

// FirstViews returns the views of what was made before views had versions.
func FirstViews() Views { return Views{"files": 1, "events": 1, "text": 1, "metadata": 1} }

// ViewError says that this program cannot render a view.
type ViewError struct {
	Name    string
	Version int
}

func (e *ViewError) Error() string {
	return fmt.Sprintf("export: this program does not render version %d of the view %q", e.Version,
		e.Name)
}

// makeViews returns the views that o names, or all current ones.
func makeViews(o Options) ([]View, error) {
	wanted := maps.Clone(o.Views)
	if wanted == nil {
		wanted = CurrentViews()
	}
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
