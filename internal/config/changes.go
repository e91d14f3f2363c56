package config

import "slices"

// Changes lists the names of the settings, secrets included, whose effective value differs in next,
// in the order of the manual and projects in the order of their numbers. The source of a value is
// ignored.
func (c *Config) Changes(next *Config) []string {
	was, will := c.values(), next.values()
	var indices []int
	for _, m := range []map[string]value{was, will} {
		for name := range m {
			if i, ok := projectOf(name); ok {
				indices = append(indices, i)
			}
		}
	}
	slices.Sort(indices)

	var names []string
	for _, k := range all(slices.Compact(indices)) {
		text := func(m map[string]value) string {
			if v, ok := m[k.name]; ok {
				return v.text
			}
			return k.def
		}
		if text(was) != text(will) {
			names = append(names, k.name)
		}
	}
	return names
}
