package config

import (
	"maps"
	"slices"
	"strings"
)

// build checks the collected values and builds the Config.
func (l *loader) build() (*Config, error) {
	c := &Config{}
	l.findTopLevel()
	l.service(c)
	l.syncFlow(c)
	l.projects(c)
	if len(c.Projects) == 0 && len(c.Broken) == 0 {
		l.report(Problem{
			Key: "PROJECTS", Wrong: "no project is configured",
			Remedy: "for a LiveKit server set LIVEKIT_URL, LIVEKIT_API_KEY and " +
				"LIVEKIT_API_SECRET; for SyncFlow set " + strings.Join(syncFlowKeys, ", ") +
				", PROJECTS__0__KEY, PROJECTS__0__SECRET, PROJECTS__0__PROJECT_ID " +
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
	effective := l.effective()
	c.settings = l.settings(effective)
	c.values = func() map[string]value { return effective }
	c.topLevel = l.topLevel
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

// field returns a setting. A setting of the project that LIVEKIT_URL makes may be another variable
// than key.
func (l *loader) field(key string) field {
	if top, ok := topLevelName(key); ok && l.topLevel {
		key = top
	}
	k, ok := lookup(key)
	if !ok {
		panic("config: no setting " + key)
	}
	l.fromFile(key)
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
	if f.l.faultyFiles[f.key] {
		return false // that is a problem of NAME_FILE already
	}
	p := Problem{Key: f.key, Wrong: "is missing", Remedy: remedy}
	if src, ok := f.l.empties[f.key]; ok {
		p.Source, p.Wrong = src, "is empty"
	}
	if near, ok := f.l.nearby[f.key]; ok {
		p.Remedy = near + ": a spelling mistake? Otherwise " + p.Remedy
	}
	f.l.report(p)
	return false
}

// settings lists every setting with its source. effective are the values that are in force.
func (l *loader) settings(effective map[string]value) []Setting {
	var out []Setting
	invalid := map[string]bool{} // not shown: it may be a secret in the wrong line
	for _, problems := range l.broken {
		for _, p := range problems {
			invalid[p.Key] = true
		}
	}
	for _, k := range all(l.numbers()) {
		v, ok := effective[k.name]
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
	case kind == hook:
		return showHook(text)
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

// numbers returns the numbers of all projects and webhooks in the settings, faulty and empty ones
// included.
func (l *loader) numbers() numbers {
	n := numbers{}
	n.add(maps.Keys(l.values))
	n.add(maps.Keys(l.empties))
	for i, problems := range l.broken {
		n.project(i)
		for _, p := range problems {
			n.add(slices.Values([]string{p.Key}))
		}
	}
	if l.topLevel {
		n.project(0)
	}
	return n
}
