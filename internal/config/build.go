package config

import (
	"maps"
	"slices"
)

// build checks the collected values and builds the Config.
func (l *loader) build() (*Config, error) {
	c := &Config{}
	l.service(c)
	l.projects(c)
	if len(c.Projects) == 0 && len(c.Broken) == 0 {
		l.report(Problem{
			Key: "PROJECTS", Wrong: "no project is configured",
			Remedy: "set at least PROJECTS__0__KEY, PROJECTS__0__SECRET, PROJECTS__0__PROJECT_ID " +
				"and PROJECTS__0__S3_CONFIG__… or PROJECTS__0__DIRECTORY",
		})
	}
	if len(l.problems) > 0 || len(c.Projects) == 0 {
		all := l.problems
		for _, b := range c.Broken {
			all = append(all, b.Problems...)
		}
		return nil, &ProblemsError{all}
	}
	c.Warnings = l.warnings
	c.settings = l.settings()
	c.values = func() map[string]value { return l.values }
	return c, nil
}

// field is one setting during a check. It reports problems to its loader.
type field struct {
	l    *loader
	key  string
	text string // "" = not set
	src  string
	def  string // the default, also an example in messages
}

func (l *loader) field(key string) field {
	k, _, ok := lookup(key)
	if !ok {
		panic("config: no setting " + key)
	}
	if v, ok := l.values[key]; ok {
		return field{l: l, key: key, text: v.text, src: v.source, def: k.def}
	}
	return field{l: l, key: key, text: k.def, def: k.def}
}

// wrong reports a problem with the value.
func (f field) wrong(wrong, remedy string) {
	f.l.report(Problem{Key: f.key, Source: f.src, Wrong: wrong, Remedy: remedy})
}

// required reports whether there is a value, and adds a problem if it is missing.
func (f field) required(remedy string) bool {
	if f.text != "" {
		return true
	}
	p := Problem{Key: f.key, Wrong: "is missing", Remedy: remedy}
	if src, ok := f.l.empties[f.key]; ok {
		p.Source, p.Wrong = src, "is empty"
	}
	if near, ok := f.l.nearby[f.key]; ok {
		p.Remedy = near + " is set in the environment: a spelling mistake? Otherwise " + p.Remedy
	}
	f.l.report(p)
	return false
}

// settings lists every setting with its source.
func (l *loader) settings() []Setting {
	var out []Setting
	invalid := map[string]bool{} // not shown: it may be a secret in the wrong line
	for _, problems := range l.broken {
		for _, p := range problems {
			invalid[p.Key] = true
		}
	}
	for _, k := range all(l.indices()) {
		v, ok := l.values[k.name]
		switch {
		case !ok && k.def != "":
			v = value{k.def, "default"}
		case !ok:
			v = value{"", "not set"}
		}
		shown := show(k.kind, v.text)
		if ok && invalid[k.name] {
			shown = "(faulty)"
		}
		out = append(out, Setting{k.name, shown, v.source})
	}
	return out
}

// show formats a value for display on one line.
func show(kind keyKind, text string) string {
	switch {
	case text == "":
		return ""
	case kind == secret:
		return mask
	case kind == ident:
		if r := []rune(text); len(r) > 8 {
			return string(r[:4]) + "…"
		}
		return mask
	}
	if q := clip(text); q[1:len(q)-1] != text {
		return q
	}
	return text
}

// indices returns the numbers of all projects in the settings, in order. Numbers may have gaps, so
// that removing one project does not rename the others.
func (l *loader) indices() []int {
	set := map[int]bool{}
	for name := range l.values {
		if i, ok := projectOf(name); ok {
			set[i] = true
		}
	}
	for name := range l.empties {
		if i, ok := projectOf(name); ok {
			set[i] = true
		}
	}
	for i := range l.broken {
		set[i] = true
	}
	return slices.Sorted(maps.Keys(set))
}
