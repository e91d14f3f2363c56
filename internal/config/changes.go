package config

import "slices"

// Changes lists the names of the settings that have another effective value in next, also of secrets, in the order of the
// manual and projects in the order of their numbers. Where a value comes from does not matter.
func (c *Config) Changes(next *Config) []string {
	was, will := c.effective(), next.effective()
	var names []string
	for _, k := range globalKeys {
		names = append(names, k.name)
	}
	var indices []int
	for _, m := range []map[string]string{was, will} {
		for name := range m {
			if i, ok := projectOf(name); ok {
				indices = append(indices, i)
			}
		}
	}
	slices.Sort(indices)
	for _, i := range slices.Compact(indices) {
		for _, k := range projectKeys {
			names = append(names, projectName(i, k.name))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return was[name] == will[name] })
}

// effective returns the text of every setting.
func (l *loader) effective() map[string]string {
	m := map[string]string{}
	add := func(name, def string) {
		if v, ok := l.values[name]; ok {
			def = v.text
		}
		m[name] = def
	}
	for _, k := range globalKeys {
		add(k.name, k.def)
	}
	for _, i := range l.indices() {
		for _, k := range projectKeys {
			add(projectName(i, k.name), k.def)
		}
	}
	return m
}
